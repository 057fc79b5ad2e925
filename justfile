# What one does often. `just` alone lists it.

[private]
default:
    @just --list

# The second tier: long runs for a night rather than for each change.
#
# Faults and load, then parsers. Real model servers come last, in a recipe of their own.
nightly_runs := "formats models clients-large streams crash soak memory fuzz-runs"

# From a bare machine to the demo; it installs what is missing after asking.
try *arguments:
    ./try {{ arguments }}

# All tests, or the programs that are named; it installs what is missing after asking.
test *arguments:
    ./test {{ arguments }}

# Everything that a change must pass.
ci:
    .ci/run

# Format both languages.
fmt:
    cargo fmt --all -- src/formats/*/mod.rs
    gofmt -w src/net/tailnet/tsnet/go

# Lints without Go: seconds instead of minutes.
lint:
    cargo clippy --all-targets --no-default-features --features server -- -D warnings
    cargo clippy --no-default-features -- -D warnings

# Tests that need little more than Rust and a C compiler, in 3 minutes.
quick:
    ./test quick

# Updates the generated parts of docs/CONFIGURATION.md, docs/ALLOWED.md and docs/FORMATS.md.
reference:
    IRIS_WRITE_DOCS=1 cargo test --no-default-features --features server --lib -- the_reference_is_up_to_date the_page_of_lists_is_up_to_date the_table_of_the_documentation_is_up_to_date

# The scenarios on a real tailnet, or those whose name has a word in it.
tailnet word="":
    cargo test --test tailnet -- {{ word }}

# Several callers, secrets and headers; a word of a test's name. It takes root, for a network namespace.
walls word="":
    cargo test --no-default-features --features postgres --test walls -- {{ word }}

# SDKs and coding agents through the gateway, or those whose name has a word in it; IRIS_CLIENTS_DIRECT=1 leaves it out.
clients word="":
    cargo test --no-default-features --features server --test clients -- {{ word }}

# The pages in a browser, or the journeys whose name has a word in it.
pages word="":
    cargo test --no-default-features --features postgres --test pages -- {{ word }}

# Keeps the gateways of `pages` running, to look around.
serve:
    cargo test --no-default-features --features postgres --test pages -- --ignored serve

# Takes the README's pictures of the dashboard again, in docs/images: look at them.
pictures:
    IRIS_WRITE_DOCS=1 cargo test --no-default-features --features postgres --test pages -- readme

# Fifty restarts, panics everywhere, a thousand kills, two hundred power cuts and a thousand write errors; takes root
# for its disk.
crash:
    IRIS_CRASH_RESTARTS=50 IRIS_CRASH_PANICS=3 IRIS_CRASH_KILLS=1000 IRIS_CRASH_NODES=100 \
        IRIS_CRASH_CUTS=200 IRIS_CRASH_ERRORS=500 \
        cargo test --no-default-features --features postgres --test crash -- \
        --skip install --skip database --skip account --skip flood --skip changes

# Adds a format to a copy of the sources, and asks the program that is built from it.
formats:
    cargo test --no-default-features --features server --test architecture -- --ignored throwaway

# Ten thousand streams on each database, a third of them cut, and every offset at which a provider can die.
streams:
    IRIS_STREAMS=10000 IRIS_STREAM_CUTS=all \
        cargo test --release --no-default-features --features postgres --test streams

# A million requests against the provider's own account, so many a second or as fast as it goes;
# takes a network namespace.
soak requests="1000000" rate="0":
    IRIS_SOAK_REQUESTS={{ requests }} IRIS_SOAK_RATE={{ rate }} \
        cargo test --release --no-default-features --features postgres --test crash -- account

# The long runs, one after the other; it goes on after one that fails and names it at the end.
nightly:
    #!/usr/bin/env bash
    set -u
    failed=()
    for run in {{ nightly_runs }}; do just "$run" || failed+=("$run"); done
    [ "${#failed[@]}" = 0 ] || { echo "failed: ${failed[*]}"; exit 1; }

# Discovery and `iris init` with llama-server, a real Ollama and a real vLLM, which take 4 GB of packages.
models:
    cargo test --no-default-features --features postgres --test models -- --include-ignored

# SDKs and agents that are translated for a real Ollama and a real vLLM, and a real Open WebUI: 6 GB of packages.
clients-large word="":
    cargo test --no-default-features --features server --test clients -- --ignored {{ word }}

# Crowds of long bodies in the memory of a container of 1 GiB: about a gigabyte of requests for each way to send them.
memory mib="1024":
    IRIS_MEMORY_MIB={{ mib }} cargo test --release --no-default-features --features postgres --test gate -- held

# Every fuzz target for a time, or those that are named.
fuzz seconds="600" *targets:
    tests/fuzz/run.sh {{ seconds }} "$(nproc)" {{ targets }}

# So many inputs for every fuzz target, or for those that are named.
fuzz-runs runs="1000000" *targets:
    RUNS={{ runs }} tests/fuzz/run.sh 0 "$(nproc)" {{ targets }}

# Small changes of the code that decides and reads, and whether a unit test notices each.
mutants *modules:
    tests/mutants.py {{ modules }}

# The number of crates, licences, a bill of materials, and two builds without a network that must be the same; or parts of it.
supply *parts:
    tests/supply.sh {{ parts }}

# Everything that is measured against others: on loopback, then on a real tailnet.
bench: bench-peers bench-tailnet

# Side by side with plain proxies and other gateways, on loopback; named ones alone. `--try` shows that each works.
bench-peers *peers:
    benches/peers/install.sh
    cargo bench --no-default-features --features postgres --bench gateway -- {{ peers }}

# Over a real tailnet, beside a Go reverse proxy on tsnet and `tailscale serve`.
bench-tailnet:
    cargo test --release --test tailnet -- --ignored measure

# Iris beside Go's reverse proxy over a real tailnet, in two minutes. `IRIS_BESIDE=FILE` measures another build as well.
bench-tailnet-quick:
    cargo test --release --test tailnet -- --ignored quick

# Iris, a bare proxy over hyper, and nginx, in three minutes. IRIS_PROGRAM names another build of Iris.
bench-quick:
    cargo bench --profile measure --no-default-features --features postgres --bench gateway -- --quick

# How many instructions fixed scripts take, against their bounds; takes valgrind and root.
instructions:
    cargo bench --profile measure --no-default-features --features postgres --bench gateway --no-run
    benches/instructions/count.py "${IRIS_PROGRAM:-target/measure/iris}"

# A million records, and each question that reports ask of them.
bench-ledger:
    cargo bench --no-default-features --features postgres --bench ledger

# What SQLite alone takes for a record, to compare with `bench-ledger`.
bench-floor:
    cargo run --profile measure -p floors --bin sqlite

# Every page of the dashboard over a hundred thousand sessions.
bench-pages:
    cargo bench --no-default-features --features postgres --bench pages

# What metering events, bodies or requests of a format costs: instructions, which are the same on every run.
bench-meter format what count="1000":
    cargo bench --no-default-features --features postgres --bench meter --no-run
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$(ls -t target/release/deps/meter-* | grep -v '\.d$' | head -1)" {{ format }} {{ what }} {{ count }}

# How cost grows with connections, streams, models, grants, callers and bytes; named curves alone.
bench-growth *curves:
    cargo bench --no-default-features --features postgres --bench growth -- {{ curves }}

# Where the time of small requests goes: target/flame.svg.
flame:
    benches/flame.sh

# The demo as it is released; `just try` builds sooner.
demo *arguments:
    cargo run --release -- demo {{ arguments }}
