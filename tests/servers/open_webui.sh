#!/usr/bin/env bash
# Installs Open WebUI, which `cargo test --test clients -- --ignored open_webui` runs (1.3 GB of packages, once). It is
# kept in the user's cache under its version and the hash of this script. Prints where it is as NAME=PATH.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/iris-tests
mkdir -p "$cache"
exec 7>"$cache/open-webui-lock"
flock 7

VERSION=0.12.4
# For its own search in documents, speech and pictures, which take another 6 GB. It starts without them.
LOCAL='accelerate|sentence-transformers|faster-whisper|transformers|rapidocr|opencv|einops|sentencepiece'

say() { printf 'preparing Open WebUI: %s\n' "$*" >&2; }
need() {
    command -v "$1" >/dev/null || { say "$1 is missing: install $2"; exit 1; }
}

out=$cache/open-webui-$VERSION-$(sha256sum <"$0" | cut -c1-12)
if [ ! -e "$out/done" ]; then
    need python3 "Python 3.11 or 3.12 with venv"
    say "its packages (about 3 minutes, once)"
    rm -rf "$out"
    python3 -m venv "$out" >&2
    pip=("$out/bin/pip" --quiet --disable-pip-version-check)
    "${pip[@]}" download --no-deps -d "$out/wheel" "open-webui==$VERSION" >&2
    "$out/bin/python" -c 'import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
print(wheel.read(name).decode())' "$out"/wheel/open_webui-*.whl |
        sed -n 's/^Requires-Dist: //p' | grep -v 'extra ==' | grep -vE "^($LOCAL)" >"$out/requirements.txt"
    "${pip[@]}" install -r "$out/requirements.txt" >&2
    "${pip[@]}" install --no-deps "$out"/wheel/open_webui-*.whl >&2
    rm -rf "$out/wheel"
    touch "$out/done"
fi
echo "open_webui=$out/bin/open-webui"
