#!/bin/sh
# Unpacks the official Go toolchain into the user's cache, for machines whose own Go is missing or too
# old. It is the module golang.org/toolchain, which every Go since 1.21 fetches for itself; a machine
# that has no such Go gets it here. Nothing outside of the cache is touched.
set -eu

VERSION=1.26.8
# Of the zip files: what the module proxy serves is compared with this before it is unpacked.
hash_of() {
    case $1 in
        linux-amd64) echo 30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7 ;;
        linux-arm64) echo 02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99 ;;
        darwin-amd64) echo fe99a2009e5bb51e06d7784f1a486478673512041c2671157bd382806e2aedcf ;;
        darwin-arm64) echo 0aad5fb52b88498885290178adc0bcfe429bc63012621af9f83282eb640bd9c7 ;;
    esac
}
# MiB: the zip and what is in it.
ROOM=350

cache=${XDG_CACHE_HOME:-$HOME/.cache}/iris
goal=$cache/go-$VERSION
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

case $(uname -s) in
    Linux) platform=linux ;;
    Darwin) platform=darwin ;;
    *) platform=$(uname -s) ;;
esac
case $(uname -m) in
    x86_64 | amd64) platform=$platform-amd64 ;;
    aarch64 | arm64) platform=$platform-arm64 ;;
    *) platform=$platform-$(uname -m) ;;
esac
hash=$(hash_of "$platform")
[ -n "$hash" ] || fail "there is no Go for \"$platform\" here: install Go $VERSION from https://go.dev/dl"
[ ! -x "$goal/bin/go" ] || exit 0

# The first proxy that is asked over HTTP, as Go itself would.
case ${GOPROXY:-} in
    off | direct) fail "GOPROXY is \"$GOPROXY\", which allows no download: install Go $VERSION, or unset GOPROXY" ;;
esac
proxy=$(printf %s "${GOPROXY:-}" | tr ',' '\n' | tr '|' '\n' | grep '^http' | head -n 1) || true
url=${proxy:-https://proxy.golang.org}/golang.org/toolchain/@v/v0.0.1-go$VERSION.$platform.zip

mkdir -p "$cache" || fail "\"$cache\" can't be made: set XDG_CACHE_HOME to a folder that you can write to"
# What a run that was killed has left.
for part in "$cache"/go-part.*; do
    if [ -e "$part" ] && ! kill -0 "${part##*.}" 2>/dev/null; then rm -rf "$part"; fi
done
free=$(df -Pk "$cache" | awk 'NR == 2 { print int($4 / 1024) }')
[ "$free" -ge "$ROOM" ] || fail "\"$cache\" has $free MiB of room, and Go takes $ROOM: make room there, or set XDG_CACHE_HOME"

part=$cache/go-part.$$
trap 'rm -rf "$part"' EXIT
trap 'exit 130' INT TERM HUP
mkdir "$part"
printf 'fetching Go %s from %s\n' "$VERSION" "$url" >&2
if has curl; then
    curl -fsSL --retry 2 -o "$part/go.zip" "$url" || fail "the download failed: check the network and try again"
elif has wget; then
    wget -q -O "$part/go.zip" "$url" || fail "the download failed: check the network and try again"
else
    fail "neither curl nor wget is installed: install one of them"
fi

if has sha256sum; then
    got=$(sha256sum "$part/go.zip")
elif has shasum; then
    got=$(shasum -a 256 "$part/go.zip")
else
    got=$(openssl dgst -sha256 -r "$part/go.zip")
fi
[ "${got%% *}" = "$hash" ] ||
    fail "the download has the SHA-256 \"${got%% *}\" instead of \"$hash\": nothing was unpacked; try another network"

if has unzip; then
    unzip -q -d "$part" "$part/go.zip"
elif has bsdtar; then
    bsdtar -x -C "$part" -f "$part/go.zip"
elif has python3; then
    python3 -m zipfile -e "$part/go.zip" "$part"
else
    busybox unzip -q -d "$part" "$part/go.zip"
fi || fail "the archive can't be unpacked into \"$cache\": is there room?"

# A module can hold neither modes nor another go.mod; Go itself puts both right after a download.
tree=$part/golang.org/toolchain@v0.0.1-go$VERSION.$platform
chmod -R u+w "$tree"
find "$tree" -name _go.mod | while read -r file; do mv "$file" "${file%_go.mod}go.mod"; done
chmod +x "$tree"/bin/* "$tree"/pkg/tool/*/*
[ "$("$tree/bin/go" env GOVERSION)" = "go$VERSION" ] || fail "Go $VERSION does not run on this machine"
# In one step, so that whatever is there is whole.
[ -x "$goal/bin/go" ] || rm -rf "$goal"
[ -e "$goal" ] || mv "$tree" "$goal"
