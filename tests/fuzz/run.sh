#!/usr/bin/env bash
# Runs fuzz targets for a time: SECONDS for each, JOBS of them at once; all of them unless some
# are named. With RUNS in the environment, each gets so many inputs instead. It begins with the inputs
# in `corpus` and with the format's recorded exchanges; those that it adds are kept in `target/corpus`,
# and what it finds in `artifacts`.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-600}
jobs=${2:-$(nproc)}
shift $(($# < 2 ? $# : 2))
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --version 0.13.2 --locked
fi
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(cargo fuzz list --fuzz-dir .)
# Without a sanitizer the stable compiler will do; the parsers have no unsafe code.
cargo fuzz build --fuzz-dir . -s none
for target in "${targets[@]}"; do mkdir -p "corpus/$target" "target/corpus/$target"; done
export recorded=../../src/formats
bound=-max_total_time=$seconds
[ -z "${RUNS:-}" ] || bound=-runs=$RUNS
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I TARGET bash -c '
    target=TARGET
    seeds=$recorded/${target#translate_}/fixtures
    [ TARGET = configuration ] && seeds=../../config
    [ -d "$seeds" ] || seeds=
    if cargo fuzz run --fuzz-dir . -s none TARGET target/corpus/TARGET corpus/TARGET $seeds -- '"$bound"' \
        -timeout=5 -rss_limit_mb=1024 -max_len=65536 >target/TARGET.log 2>&1; then
        echo "TARGET: $(grep -o "Done [0-9]* runs in [0-9]* second" target/TARGET.log), no finding"
    else
        echo "TARGET: a finding, see $PWD/target/TARGET.log"; exit 255
    fi'
