# What one does often. `just` alone lists it.

[private]
default:
    @just --list

# Everything that a change must pass.
ci:
    .ci/run

# Format both languages.
fmt:
    cargo fmt
    gofmt -w src/tailnet/go

# Lints without Go: seconds instead of minutes.
lint:
    cargo clippy --all-targets --no-default-features -- -D warnings

# Tests that need neither Go nor real parts.
quick:
    cargo test --no-default-features --lib --test loopback --test architecture

# Writes the generated part of docs/CONFIGURATION.md anew.
reference:
    IRIS_WRITE_DOCS=1 cargo test --no-default-features --lib the_reference_is_up_to_date

# The scenarios on a real tailnet, or those whose name has a word in it.
tailnet word="":
    cargo test --test tailnet -- {{ word }}

# SDKs and coding agents through the gateway; `direct` as the first word leaves it out.
clients *words:
    cargo test --no-default-features --test clients -- {{ words }}

# The pages in a browser: a journey by a word of its name, or `serve` to look around oneself.
pages word="":
    cargo test --no-default-features --features postgres --test pages -- {{ word }}

# A thousand kills, two hundred power cuts and a thousand write errors; takes root for its disk.
crash:
    IRIS_CRASH_KILLS=1000 IRIS_CRASH_CUTS=200 IRIS_CRASH_ERRORS=500 \
        cargo test --no-default-features --features postgres --test crash -- kills cuts errors

# A million requests against the provider's own account; takes a network namespace.
soak requests="1000000":
    IRIS_SOAK_REQUESTS={{ requests }} \
        cargo test --release --no-default-features --features postgres --test crash -- account

# Every fuzz target for a time, or those that are named.
fuzz seconds="600" *targets:
    tests/fuzz/run.sh {{ seconds }} "$(nproc)" {{ targets }}

# Side by side with plain proxies and other gateways, on loopback; named ones alone.
bench-peers *peers:
    cargo bench --no-default-features --features postgres --bench gateway -- {{ peers }}

# The quick form: Iris against nginx, in less than three minutes.
bench-quick:
    cargo bench --no-default-features --features postgres --bench gateway -- --quick

# A million records, and each question that reports ask of them.
bench-ledger:
    cargo bench --no-default-features --features postgres --bench ledger

# Every page of the dashboard over a hundred thousand sessions.
bench-pages:
    cargo bench --no-default-features --features postgres --bench pages

# Latency, throughput and memory over a real tailnet.
bench:
    cargo test --release --test tailnet -- measure

# Try it on this machine.
demo:
    cargo run --release -- demo
