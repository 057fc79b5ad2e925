#!/usr/bin/env bash
# Changes the code in small ways, one at a time, and looks whether a unit test notices: in the files
# that are named, or in those below. A library of the lower modules alone takes seconds for each
# change, where all of Iris would take a minute. What survives is in target/mutants.
#
#   tests/mutants.sh ['src/access/**'...]      SHARD=0/4 tries a quarter
set -euo pipefail
cd "$(dirname "$0")/.."

files=("$@")
[ "${#files[@]}" -gt 0 ] || files=('src/wire/json/**' src/wire/sse.rs src/wire/mask.rs src/wire/headers.rs 'src/access/**')
if ! cargo mutants --version 2>/dev/null | grep -q ' 27\.'; then
    cargo install cargo-mutants --version 27.1.0 --locked
fi
export CARGO_TARGET_DIR=$PWD/target/mutants/build CARGO_PROFILE_DEV_DEBUG=0 IRIS_GRANT_CASES=5000
failed=0

# Those of the files that a library of these modules holds.
try() {
    local name=$1 modules=$2 tree=target/mutants/$1 only=() file
    for file in "${files[@]}"; do
        [[ $file != "$name" && $file != src/$name* ]] || only+=(--file "$file")
    done
    [ "${#only[@]}" -gt 0 ] || return 0
    rm -rf "$tree"
    mkdir -p "$tree"
    cp -r Cargo.toml Cargo.lock build.rs src docs config "$tree"
    rm "$tree/src/main.rs"
    for module in $modules; do echo "pub mod $module;"; done >"$tree/src/lib.rs"
    # Of the manifest, what the library needs.
    sed -i '/^\[\[test\]\]/,$d' "$tree/Cargo.toml"
    nice cargo mutants --dir "$tree" --in-place --output "$tree" --timeout 180 --cap-lints true \
        --no-default-features ${SHARD:+--shard "$SHARD"} "${only[@]}" -- --lib "$name" || failed=1
}

try wire "clock wire"
try access "secret clock money bucket wire tailnet config identity access"
exit "$failed"
