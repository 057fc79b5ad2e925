#!/usr/bin/env bash
# Installs what tests/pages drives a browser with, once; the browser is the machine's own Chromium.
# It is kept in the user's cache under the hash of its manifest. Prints each part as NAME=PATH.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
manifest=$here/../pages/npm
cache=${XDG_CACHE_HOME:-$HOME/.cache}/iris-tests
mkdir -p "$cache"
exec 7>"$cache/browser-lock"
flock 7

say() { printf 'preparing the browser: %s\n' "$*" >&2; }
need() {
    command -v "$1" >/dev/null || { say "$1 is missing: install $2"; exit 1; }
}

# Used where the machine's own is older than 20.
NODE=22.23.3

need node "Node.js, for npm"
need npm "npm 9 or newer"

browser=
for name in chromium chromium-browser google-chrome; do
    if browser=$(command -v "$name"); then break; fi
done
[ -n "$browser" ] || { say "Chromium is missing: install chromium"; exit 1; }

npm=$cache/browser-npm-$(cat "$0" "$manifest/package.json" "$manifest/package-lock.json" | sha256sum | cut -c1-12)
if [ ! -e "$npm/done" ]; then
    say "Playwright and axe (a few seconds, once)"
    rm -rf "$npm"
    mkdir -p "$npm"
    cp "$manifest/package.json" "$manifest/package-lock.json" "$npm/"
    (cd "$npm" && npm install --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
    platform=$(node -p 'process.platform + "-" + process.arch')
    if [ "$(node -p 'parseInt(process.versions.node)')" -lt 20 ]; then
        (cd "$npm" && npm install --no-save --ignore-scripts --no-audit --no-fund \
            --loglevel=error "node-$platform@$NODE") >&2
        chmod +x "$npm/node_modules/node-$platform/bin/node"
        ln -sf "node_modules/node-$platform/bin/node" "$npm/node"
    else
        ln -sf "$(command -v node)" "$npm/node"
    fi
    touch "$npm/done"
fi

printf 'node=%s\nnode_modules=%s\nbrowser=%s\n' "$npm/node" "$npm/node_modules" "$browser"
