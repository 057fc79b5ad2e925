#!/usr/bin/env bash
# Installs the SDKs and coding agents that tests/clients runs through the gateway, once. They are
# kept in the user's cache under the hash of their manifests and of this script. Prints each part
# as NAME=PATH.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
manifests=$here/../clients/npm
cache=${XDG_CACHE_HOME:-$HOME/.cache}/iris-tests
mkdir -p "$cache"
exec 8>"$cache/clients-lock"
flock 8

# Used where the machine's own is older than 20.
NODE=22.23.3

key() { cat "$@" | sha256sum | cut -c1-12; }
python=$cache/clients-python-$(key "$here/requirements-clients.txt")
npm=$cache/clients-npm-$(key "$0" "$manifests/package.json" "$manifests/package-lock.json")

say() { printf 'preparing the clients: %s\n' "$*" >&2; }
need() {
    command -v "$1" >/dev/null || { say "$1 is missing: install $2"; exit 1; }
}

# Puts the first program that is there into .bin, under a name.
program() {
    local name=$1 path
    shift
    for path; do
        if [ -e "$npm/node_modules/$path" ]; then
            chmod +x "$npm/node_modules/$path"
            ln -sf "../$path" "$npm/node_modules/.bin/$name"
            return
        fi
    done
    say "$name is not made for this platform"
    exit 1
}

need python3 "Python 3.10 or newer with venv"
need node "Node.js, for npm"
need npm "npm 9 or newer"

if [ ! -e "$python/done" ]; then
    say "a Python environment with the SDKs (about 1 minute, once)"
    rm -rf "$python"
    python3 -m venv "$python" >&2
    "$python/bin/pip" install --quiet --disable-pip-version-check \
        -r "$here/requirements-clients.txt" >&2
    touch "$python/done"
fi

if [ ! -e "$npm/done" ]; then
    say "the SDKs and agents for Node.js (about 2 minutes, once)"
    rm -rf "$npm"
    mkdir -p "$npm"
    cp "$manifests/package.json" "$manifests/package-lock.json" "$npm/"
    # Not `npm ci`: an agent's program is an optional package for each platform, and not every
    # registry has them all. Versions and hashes are the lock file's all the same. No package's own
    # scripts run: what they would do is not needed, and nobody has read them.
    (cd "$npm" && npm install --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
    # The agents want a newer Node.js than some systems have.
    platform=$(node -p 'process.platform + "-" + process.arch')
    if [ "$(node -p 'parseInt(process.versions.node)')" -lt 20 ]; then
        (cd "$npm" && npm install --no-save --ignore-scripts --no-audit --no-fund \
            --loglevel=error "node-$platform@$NODE") >&2
        program node "node-$platform/bin/node"
    fi
    # Two agents are programs for one platform, which their own scripts would have put in place.
    program claude "@anthropic-ai/claude-code-$platform/claude"
    program opencode "opencode-$platform-baseline/bin/opencode" "opencode-$platform/bin/opencode"
    touch "$npm/done"
fi

printf 'python=%s\nnode_modules=%s\n' "$python/bin" "$npm/node_modules"
