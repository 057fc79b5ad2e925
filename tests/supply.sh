#!/usr/bin/env bash
# What Iris is made of: the licences of everything that is linked in, a bill of materials, and two
# builds without a network in two folders, which have to be the same to the last bit.
#
#   tests/supply.sh [licences|materials|builds]...    all of them unless some are named
#
# Builds are of `--no-default-features --features postgres` unless FEATURES says otherwise, of the
# profile in PROFILE. What comes of it is in target/supply.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
out=$root/target/supply
mkdir -p "$out"

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
    done < <(cd src/tailnet/go && GOFLAGS=-mod=readonly go list -deps \
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
    echo "bill of materials: $(grep -c '"purl": "pkg:cargo' "$out/iris.cdx.json") crates in $out/iris.cdx.json"
}

# One build, in a folder of its own where nothing of another is.
build() {
    local folder=$1 home=${CARGO_HOME:-$HOME/.cargo}
    local map="$folder=/iris" crates="$home=/cargo"
    rm -rf "$folder"
    mkdir -p "$folder"
    git -C "$root" archive HEAD | tar -x -C "$folder"
    # No network: a build script that downloads something fails here.
    (cd "$folder" && unshare --net nice env \
        RUSTFLAGS="--remap-path-prefix=$map --remap-path-prefix=$crates" \
        CFLAGS="-ffile-prefix-map=$map -ffile-prefix-map=$crates" SOURCE_DATE_EPOCH=1 \
        cargo build --profile "${PROFILE:-release}" --locked --offline --bin iris \
        --target-dir "$folder/target" ${FEATURES---no-default-features --features postgres})
    sha256sum "$folder"/target/*/iris | sed "s|$folder/||" >"$out/$2.sha256"
}

builds() {
    local folder
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' RETURN
    build "$folder/one" one
    build "$folder/another-place" two
    cat "$out/one.sha256" "$out/two.sha256"
    cmp "$out/one.sha256" "$out/two.sha256" || {
        echo "two builds differ"
        cmp -l "$folder"/one/target/*/iris "$folder"/another-place/target/*/iris | wc -l
        return 1
    }
    echo "two builds without a network: the same"
}

parts=("$@")
[ "${#parts[@]}" -gt 0 ] || parts=(licences materials builds)
for part in "${parts[@]}"; do "$part"; done
