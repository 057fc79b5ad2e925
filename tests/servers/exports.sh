#!/usr/bin/env bash
# Builds the servers that tests/exports sends to, once: an S3 gateway over a folder, and a
# collector of OpenTelemetry. They are kept in the user's cache. Prints each as NAME=PATH.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/iris-tests
mkdir -p "$cache"
exec 7>"$cache/exports-lock"
flock 7

S3=v1.8.0
OTEL=v0.165.0
PYTHON='cbor2==5.7.1 zstandard==0.25.0'

say() { printf 'preparing the exports: %s\n' "$*" >&2; }
command -v go >/dev/null || { say "go is missing: install Go 1.26 or newer"; exit 1; }

s3=$cache/versitygw-$S3
if [ ! -x "$s3/versitygw" ]; then
    say "the S3 server (about 3 minutes, once)"
    mkdir -p "$s3"
    GOBIN=$s3 go install "github.com/versity/versitygw/cmd/versitygw@$S3" >&2
fi

config=$here/otelcol.yaml
otel=$cache/otelcol-$OTEL-$(sha256sum "$config" | cut -c1-12)
if [ ! -x "$otel/otelcol" ]; then
    say "the collector of OpenTelemetry (about 5 minutes, once)"
    rm -rf "$otel"
    mkdir -p "$otel/bin"
    GOBIN=$otel/bin go install "go.opentelemetry.io/collector/cmd/builder@$OTEL" >&2
    sed "s|OUTPUT|$otel/build|" "$config" >"$otel/builder.yaml"
    "$otel/bin/builder" --config "$otel/builder.yaml" --skip-strict-versioning >&2
    mv "$otel/build/otelcol" "$otel/otelcol"
    rm -rf "$otel/build"
fi

python=$cache/exports-python-$(printf %s "$PYTHON" | sha256sum | cut -c1-12)
if [ ! -e "$python/done" ]; then
    say "a Python environment that reads what was exported (once)"
    rm -rf "$python"
    python3 -m venv "$python" >&2
    # shellcheck disable=SC2086 # two packages
    "$python/bin/pip" install --quiet --disable-pip-version-check $PYTHON >&2
    touch "$python/done"
fi

echo "S3=$s3/versitygw"
echo "OTELCOL=$otel/otelcol"
echo "PYTHON=$python/bin/python"
