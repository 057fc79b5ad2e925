#!/usr/bin/env bash
# Installs the peers of the gateway bench into target/peers, each at the version that its table
# names. What can't be installed is said, and the bench leaves it out.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
here="$PWD/benches/peers"
there="$PWD/target/peers"
mkdir -p "$there"

for program in nginx haproxy wrk; do
    type -P "$program" >/dev/null && continue
    if [ "$(id -u)" = 0 ] && type -P apt-get >/dev/null; then
        apt-get install -qy --no-install-recommends "$program" && continue
    fi
    echo "$program is missing: install it with the system's packages" >&2
done

# `stamp NAME FILE` says whether what FILE asks for is there already.
stamp() { cmp -s "$2" "$there/$1.installed"; }

if ! stamp python "$here/requirements.txt"; then
    python3 -m venv "$there/python" &&
        "$there/python/bin/pip" install -q -r "$here/requirements.txt" &&
        cp "$here/requirements.txt" "$there/python.installed" ||
        echo "the peers in Python could not be installed" >&2
fi
if ! stamp rust "$here/crates.txt"; then
    # shellcheck disable=SC2046 # words
    cargo install --quiet --locked --root "$there/rust" $(cat "$here/crates.txt") &&
        cp "$here/crates.txt" "$there/rust.installed" ||
        echo "the peer in Rust could not be built" >&2
fi
if ! stamp node "$here/package.json"; then
    mkdir -p "$there/node" && cp "$here/package.json" "$there/node/" &&
        npm install --prefix "$there/node" --ignore-scripts --no-audit --no-fund --silent &&
        cp "$here/package.json" "$there/node.installed" ||
        echo "the peer in JavaScript could not be installed" >&2
fi
