# shellcheck shell=sh
# shellcheck disable=SC2034 # `found` is for plan.sh
# What this machine has of what Iris is built and tested with. `./try` and `./test` read this file
# in the project's folder.
#
# A tool that is installed but not on PATH is found too: what an earlier run has installed must not
# be installed again by a shell that does not know it yet.

# The one place that names each version is the manifest of its language.
RUST=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
GO=$(sed -n 's/^go \([0-9.]*\)$/\1/p' src/net/tailnet/tsnet/go/go.mod)
# In front of the paths of a system; the tests of these scripts have one of their own.
SYSTEM=${IRIS_TEST_SYSTEM:-}
# Since this version, Go fetches a newer one from the module proxy by itself.
GO_FETCHES=1.21
if [ -z "${HOME:-}" ]; then
    echo 'error: HOME is not set: it names the folder for caches and tools' >&2
    exit 1
fi
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/iris
# The Go that `tests/setup/go.sh` unpacks.
GO_UNPACKED=$CACHE/go-$(sed -n 's/^VERSION=//p' tests/setup/go.sh)

has() { command -v "$1" >/dev/null 2>&1; }

# Whether the first version is the second or a later one.
at_least() {
    [ -n "$1" ] || return 1
    set -- "$1." "$2."
    while [ -n "$2" ]; do
        number=${1%%.*}
        [ "${number:-0}" -le "${2%%.*}" ] || return 0
        [ "${number:-0}" -ge "${2%%.*}" ] || return 1
        set -- "${1#*.}" "${2#*.}"
    done
}

# A missing tool has no version; that isn't a failure, also under `pipefail`.
rust_version() { { rustc -V 2>/dev/null || :; } | sed -n 's/^rustc \([0-9.]*\).*/\1/p'; }

rust_suits() {
    at_least "$(rust_version)" "$RUST" && cargo -V >/dev/null 2>&1
}

# Leaves in `found` what there is instead.
find_rust() {
    found=$(rust_version)
    ! rust_suits || return 0
    path_before=$PATH
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    ! rust_suits || return 0
    # rustup's default may be older than another of its toolchains.
    if [ -z "${RUSTUP_TOOLCHAIN:-}" ] && rustup toolchain list 2>/dev/null | grep -q '^stable'; then
        export RUSTUP_TOOLCHAIN=stable
        ! rust_suits || return 0
        unset RUSTUP_TOOLCHAIN
    fi
    PATH=$path_before
    return 1
}

# Outside of the module: inside, an older Go would begin to fetch the one that is asked for there.
go_version() {
    { (cd / && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || :; } | sed -n 's/^go\([0-9.]*\).*/\1/p'
}

# Whether Go may fetch a newer one. Some systems say no for everybody; then the answer is the
# user's own, if there is one.
go_fetches() {
    case ${GOTOOLCHAIN:-} in
        '') ! grep -qs '^GOTOOLCHAIN=local' "$(cd / && go env GOENV)" ;;
        auto | path | *+auto | *+path) return 0 ;;
        *) return 1 ;;
    esac
}

go_suits() {
    version=$(go_version)
    ! at_least "$version" "$GO" || return 0
    at_least "$version" "$GO_FETCHES" && go_fetches || return 1
    export GOTOOLCHAIN="${GOTOOLCHAIN:-auto}"
}

find_go() {
    found=$(go_version)
    ! go_suits || return 0
    path_before=$PATH
    for folder in "$GO_UNPACKED/bin" "$SYSTEM/usr/local/go/bin" "$SYSTEM"/usr/lib/go-1.*/bin; do
        [ -x "$folder/go" ] || continue
        PATH=$folder:$path_before
        ! go_suits || return 0
    done
    PATH=$path_before
    return 1
}

# A compiler without the C library's headers is of no use, so that a program is built.
find_cc() {
    found=
    # It may be several words, as in "ccache gcc".
    compiler=${CC:-cc}
    has "${compiler%% *}" || return 1
    folder=$(mktemp -d) || return 1
    printf '#include <stdio.h>\nint main(void) { return 0; }\n' >"$folder/a.c"
    # shellcheck disable=SC2086 # words
    if $compiler -o "$folder/a" "$folder/a.c" >/dev/null 2>&1; then built=0; else built=1; fi
    rm -rf "$folder"
    [ "$built" = 0 ] || found="$compiler, which can't build a program"
    return "$built"
}

find_certificates() {
    found=
    [ -z "${SSL_CERT_FILE:-}" ] || return 0
    [ "$(uname -s)" != Darwin ] || return 0
    any_file /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt \
        /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem
}

# Whether the system has one of some files; in each, a star stands for any name.
any_file() {
    for pattern; do
        for file in "$SYSTEM"$pattern; do
            [ ! -e "$file" ] || return 0
        done
    done
    return 1
}

# Whether this machine has one thing of packages.txt.
find_one() {
    found=
    case $1 in
        rust | go | cc | certificates) "find_$1" ;;
        venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        chromium) has chromium || has chromium-browser || has google-chrome ;;
        initdb) has initdb || any_file '/usr/lib/postgresql/*/bin/initdb' ;;
        kill) any_file /bin/kill /usr/bin/kill ;;
        faketime) any_file '/usr/lib/*/faketime/libfaketimeMT.so.1' '/usr/lib*/faketime/libfaketimeMT.so.1' ;;
        systemd) has systemctl && any_file /lib/systemd/systemd ;;
        rustfmt) cargo fmt --version >/dev/null 2>&1 ;;
        clippy) cargo clippy --version >/dev/null 2>&1 ;;
        *) has "$1" ;;
    esac
}
