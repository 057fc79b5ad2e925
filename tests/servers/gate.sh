#!/usr/bin/env bash
# Builds what tests/gate asks about HTTP/2, once: h2spec. It is kept in the user's cache. Prints
# it as NAME=PATH.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/iris-tests
mkdir -p "$cache"
exec 7>"$cache/gate-lock"
flock 7

H2SPEC=v2.2.1+incompatible

say() { printf 'preparing the gate: %s\n' "$*" >&2; }
command -v go >/dev/null || { say "go is missing: install Go 1.26 or newer"; exit 1; }

h2spec=$cache/h2spec-${H2SPEC%+*}
if [ ! -x "$h2spec/h2spec" ]; then
    say "h2spec (about a minute, once)"
    mkdir -p "$h2spec"
    GOBIN=$h2spec go install "github.com/summerwind/h2spec/cmd/h2spec@$H2SPEC" >&2
fi

echo "H2SPEC=$h2spec/h2spec"
