#!/usr/bin/env bash
# Draws where the time of small requests goes: target/flame.svg. Needs perf, and installs inferno,
# which makes the picture. Both programs and their load run on loopback, for half a minute.
set -euo pipefail
cd "$(dirname "$0")/.."

type -P perf >/dev/null || { echo "perf is missing: install linux-perf"; exit 1; }
type -P inferno-flamegraph >/dev/null || cargo install inferno --version 0.12.8 --locked

cargo bench --profile measure --no-default-features --features postgres --bench gateway --no-run
cargo bench --profile measure --no-default-features --features postgres --bench gateway -- --profile &
bench=$!
trap 'kill "$bench" 2>/dev/null || true' EXIT
# The bench names the process once its load runs.
until [ -s target/profiled.pid ]; do
    kill -0 "$bench" || exit 1
    sleep 0.2
done
perf record --quiet -o target/perf.data -F 499 --call-graph dwarf,8192 \
    -p "$(cat target/profiled.pid)" -- sleep 8
wait "$bench"
perf script --no-inline -i target/perf.data 2>/dev/null |
    inferno-collapse-perf | inferno-flamegraph --title 'Small requests' >target/flame.svg
echo "target/flame.svg"
