#!/usr/bin/env bash
# What Iris is made of: the number of crates, the licences of everything that is linked in, a bill of
# materials, and two builds without a network in two folders, which have to be the same to the last bit.
#
#   tests/supply.sh [number|licences|materials|builds]...    all of them unless some are named
#
# Builds are of the features in FEATURES, else all of them, and of the profile in PROFILE, else what is
# released. The list of crates is in the program itself (`cargo audit bin` reads it). What comes of
# it is in target/supply.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
out=$root/target/supply
mkdir -p "$out"

# At most so many crates, the two of Iris and those that only run in a build included. Each is code that others
# may change, and time in every clean build.
MOST_CRATES=219
MOST_CRATES_OF_CLIENT=158

number() {
    local wrong=0
    at_most "$MOST_CRATES" MOST_CRATES "the gateway" || wrong=1
    at_most "$MOST_CRATES_OF_CLIENT" MOST_CRATES_OF_CLIENT "the client alone" --no-default-features || wrong=1
    return "$wrong"
}

# Counts for one system, so that the number is the same on every machine.
at_most() {
    local most=$1 name=$2 what=$3 found
    shift 3
    found=$(cargo tree --locked --package iris --target x86_64-unknown-linux-gnu -e normal,build --prefix none --no-dedupe "$@" |
        cut -d' ' -f1,2 | sort -u | wc -l)
    echo "$what: $found crates, at most $most"
    if [ "$found" -gt "$most" ]; then
        echo "error: $what is made of $found crates, more than the $most of $name in tests/supply.sh."
        echo "help: cargo tree --locked -e normal,build -i NAME shows what needs a crate, git diff Cargo.lock which are new."
        echo "      Leave out a feature, or raise the bound in the commit that says in docs/LIBRARIES.md what they are worth."
        return 1
    elif [ "$found" -lt "$most" ]; then
        echo "notice: lower $name in tests/supply.sh to $found, so that it stays so"
    fi
}

# By its own words, what a licence is.
kind_of() {
    local text
    text=$(tr -s '[:space:]' ' ' <"$1")
    case $text in
        *"Mozilla Public License"*) echo MPL-2.0 ;;
        *"GNU "*"GENERAL PUBLIC LICENSE"*) echo GPL ;;
        *"Apache License"*"Version 2.0"*) echo Apache-2.0 ;;
        *"Redistribution and use in source and binary forms"*"either the name of"*) echo BSD-3-Clause ;;
        *"Redistribution and use in source and binary forms"*) echo BSD-2-Clause ;;
        *"Permission is hereby granted, free of charge"*) echo MIT ;;
        *"Permission to use, copy, modify, and"*"distribute this software for any purpose"*) echo ISC ;;
        *) echo unknown ;;
    esac
}

licences() {
    cargo deny check bans licenses sources
    # Those that `deny.toml` allows hold for Go as well, of which only what is linked counts.
    local allowed wrong=0 path dir file kind
    allowed=$(sed -n '/^allow = \[/,/^\]/s/^ *"\(.*\)",$/\1/p' deny.toml)
    : >"$out/go-licences.txt"
    while IFS='|' read -r path dir; do
        file=$(find "$dir" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' \) | sort | head -n 1)
        kind=none
        [ -z "$file" ] || kind=$(kind_of "$file")
        echo "$path $kind" >>"$out/go-licences.txt"
        grep -qxF "$kind" <<<"$allowed" || { echo "$path: $kind is not among those of deny.toml"; wrong=1; }
    done < <(cd src/net/tailnet/tsnet/go && GOFLAGS=-mod=readonly go list -deps \
        -f '{{with .Module}}{{if .Version}}{{.Path}}@{{.Version}}|{{.Dir}}{{end}}{{end}}' ./... | sort -u)
    [ -s "$out/go-licences.txt" ] || { echo "no Go module was found"; wrong=1; }
    echo "Go modules: $(wc -l <"$out/go-licences.txt"), $(cut -d' ' -f2 "$out/go-licences.txt" | sort | uniq -c | tr -s ' \n' ' ')"
    return "$wrong"
}

materials() {
    if ! cargo cyclonedx --version 2>/dev/null | grep -q ' 0\.5\.'; then
        cargo install cargo-cyclonedx --version 0.5.9 --locked
    fi
    cargo cyclonedx --format json --spec-version 1.5 --all-features --override-filename iris.cdx
    mv iris.cdx.json "$out/"
    # Nothing of the tests is in the program, and its own names all crates.
    rm -f core/iris.cdx.json tests/support/iris.cdx.json benches/floors/iris.cdx.json
    echo "bill of materials: $(grep -c '"purl": "pkg:cargo' "$out/iris.cdx.json") crates in $out/iris.cdx.json"
}

# One build, in a folder of its own where nothing of another is.
build() {
    local folder=$1 home=${CARGO_HOME:-$HOME/.cargo}
    local map="$folder=/iris" crates="$home=/cargo"
    mkdir -p "$folder"
    git -C "$root" archive HEAD | tar -x -C "$folder"
    # No network: a build script that downloads something fails here. Go keeps what it has built
    # elsewhere, so it gets another place for it.
    (cd "$folder" && unshare --net nice env \
        RUSTFLAGS="--remap-path-prefix=$map --remap-path-prefix=$crates" \
        CFLAGS="-ffile-prefix-map=$map -ffile-prefix-map=$crates" SOURCE_DATE_EPOCH=1 \
        GOPROXY=off GOFLAGS=-mod=readonly GOCACHE="$folder/go" \
        cargo auditable build --profile "${PROFILE:-release}" --locked --offline --bin iris \
        --target-dir "$folder/target" ${FEATURES:-})
    cp "$folder"/target/*/iris "$out/$2"
    chmod -R u+w "$folder" && rm -rf "$folder"
}

builds() {
    if ! cargo auditable --version 2>/dev/null | grep -q ' 0\.7\.'; then
        cargo install cargo-auditable --version 0.7.7 --locked
    fi
    cargo fetch --locked
    (cd src/net/tailnet/tsnet/go && go mod download)
    local folder
    folder=$(mktemp -d)
    build "$folder/one" one
    build "$folder/another-place" two
    rmdir "$folder"
    (cd "$out" && sha256sum one two)
    cmp "$out/one" "$out/two" || {
        echo "two builds differ, in $(cmp -l "$out/one" "$out/two" | wc -l) bytes"
        return 1
    }
    local listed
    listed=$(crates "$out/one")
    echo "two builds without a network: the same, with $listed crates listed inside"
}

# How many crates a program says that it is made of; itself is one of them.
crates() {
    objcopy --dump-section .dep-v0="$out/crates.z" "$1" /dev/null
    python3 - "$out/crates.z" <<'PY'
import json, sys, zlib
found = json.loads(zlib.decompress(open(sys.argv[1], "rb").read()))["packages"]
assert any(one["name"] == "iris" and one.get("root") for one in found), "iris itself is missing"
assert len(found) > 100, f"only {len(found)} crates"
print(len(found))
PY
}

parts=("$@")
[ "${#parts[@]}" -gt 0 ] || parts=(number licences materials builds)
for part in "${parts[@]}"; do "$part"; done
