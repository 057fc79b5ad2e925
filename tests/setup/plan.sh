# shellcheck shell=sh
# shellcheck disable=SC2154 # `me` and `yes` are the caller's, `found` is find.sh's
# How a machine gets what it lacks: the commands are put together first, shown, and run as shown.
# `./try` and `./test` read this file after find.sh. They set `me`, the command to try again with,
# and `yes`, which is 1 if nobody is to be asked.

say() { printf '%s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# === What the system offers ===

manager=
for one in apt-get dnf apk pacman brew; do
    if has "$one"; then
        manager=$one
        break
    fi
done

sudo=
if [ "$(id -u)" = 0 ] || [ "$manager" = brew ]; then
    as_root=yes
elif has sudo || has doas; then
    as_root=yes
    if has sudo; then sudo='sudo '; else sudo='doas '; fi
else
    as_root=no
fi

# One field of one thing in packages.txt, without the blanks around it.
field() {
    sed -n "s/^$1  *|/|/p" tests/setup/packages.txt | cut -d '|' -f "$2" | sed 's/^ *//; s/ *$//'
}
why() { field "$1" 8; }
needed_by() { field "$1" 7; }
packages() {
    case $manager in
        apt-get) names=$(field "$1" 2) ;;
        dnf) names=$(field "$1" 3) ;;
        apk) names=$(field "$1" 4) ;;
        pacman) names=$(field "$1" 5) ;;
        brew) names=$(field "$1" 6) ;;
        *) names=- ;;
    esac
    # Ubuntu's Chromium has another name.
    if [ "$names" = chromium ] && [ "$manager" = apt-get ] && [ -z "$(offered chromium)" ] &&
        [ -n "$(offered chromium-browser)" ]; then
        names=chromium-browser
    fi
    [ "$names" = - ] || echo "$names"
}

# The version of a package that would be installed; nothing where that can't be told. In English,
# which is what is read here.
offered() {
    case $manager in
        apt-get) LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: \([0-9]*:\)\{0,1\}\([0-9.]*\).*/\2/p' ;;
        dnf) dnf -q repoquery --latest-limit 1 --qf '%{version}\n' "$1" | tail -n 1 ;;
        apk) apk search -e "$1" | sed -n "s/^$1-\([0-9][0-9.]*\)-r.*/\1/p" ;;
        pacman) LC_ALL=C pacman -Si "$1" | sed -n 's/^Version *: \([0-9]*:\)\{0,1\}\([0-9.]*\).*/\2/p' ;;
    esac 2>/dev/null
}

# Whether the system has a package in a version or a later one. Where versions can't be told before
# an installation, it is looked at afterwards.
offers() {
    version=$(offered "$1")
    if [ -z "$version" ]; then
        [ "$manager" = dnf ] || [ "$manager" = brew ]
    else
        at_least "$version" "$2"
    fi
}

# A fresh container has no lists of packages: what the system offers is known after the update.
lists_are_empty() {
    case $manager in
        apt-get | apk | pacman) [ -z "$(offered gcc)" ] ;;
        *) return 1 ;;
    esac
}

# === What is to be done ===

# Lines of commands, for root and for the user.
root_steps=
own_steps=
wanted_packages=
unknown=

root_step() {
    root_steps="$root_steps$*
"
}
own_step() {
    own_steps="$own_steps$*
"
}
want() {
    for name; do
        case " $wanted_packages " in
            *" $name "*) ;;
            *) wanted_packages="${wanted_packages:+$wanted_packages }$name" ;;
        esac
    done
}
want_one() {
    names=$(packages "$1")
    # shellcheck disable=SC2086 # one word for each package
    if [ -n "$names" ]; then want $names; else unknown="$unknown $1"; fi
}
want_download() {
    has curl || has wget || want_one curl
    find_certificates || want_one certificates
}

# The release of apt, such as backports, that has a package in a version or a later one.
release_with() {
    LC_ALL=C apt-cache madison "$1" 2>/dev/null | while IFS=' |' read -r _ version _ release _; do
        version=${version#*:}
        if at_least "${version%%[!0-9.]*}" "$2"; then
            echo "${release%%/*}"
            break
        fi
    done
}

want_rust() {
    if has rustup; then
        own_step rustup toolchain install stable --profile minimal
        rustup default >/dev/null 2>&1 || own_step rustup default stable
        return
    fi
    if [ "$rust_tried" = no ]; then
        rust_tried=yes
        # shellcheck disable=SC2046 # the first word
        set -- $(packages rust)
        if [ $# -gt 0 ] && offers "$1" "$RUST"; then
            want "$@"
            return
        fi
        if [ "$manager" = apt-get ]; then
            release=$(release_with cargo "$RUST")
            if [ -n "$release" ]; then
                release_packages="-t $release $*"
                return
            fi
        fi
        # The package would take the system's Rust away, if there is one.
        if [ -n "$(offered rustup)" ] && ! has rustc; then
            want rustup
            case $manager in
                apt-get | pacman)
                    own_step rustup toolchain install stable --profile minimal
                    own_step rustup default stable
                    ;;
                *) own_step rustup-init -y --profile minimal ;;
            esac
            return
        fi
    fi
    # As https://rustup.rs says, but that a download that fails ends it: a pipe would not.
    want_download
    fetch="curl --proto '=https' --tlsv1.2 -sSf"
    has curl || ! has wget || fetch='wget -qO -'
    own_step "script=\$($fetch https://sh.rustup.rs) && printf '%s\n' \"\$script\" | sh -s -- -y --profile minimal"
}

want_go() {
    if go_fetches 2>/dev/null; then wanted=$GO_FETCHES; else wanted=$GO; fi
    if [ "$go_tried" = no ]; then
        go_tried=yes
        name=$(packages go)
        if [ -n "$name" ] && offers "$name" "$wanted"; then
            want "$name"
            return
        fi
        if [ "$manager" = apt-get ]; then
            name=$(apt-cache search --names-only '^golang-1\.[0-9]*-go$' | sed 's/ .*//' | sort -t . -k 2n | tail -n 1)
            version=${name#golang-}
            if at_least "${version%-go}" "$wanted"; then
                want "$name"
                return
            fi
        fi
    fi
    want_download
    has unzip || has bsdtar || has python3 || want_one unzip
    own_step sh tests/setup/go.sh
}

# Puts together what brings some things of packages.txt.
plan() {
    root_steps=
    own_steps=
    wanted_packages=
    release_packages=
    unknown=
    apt='env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends'
    if [ "$manager" = apt-get ] && [ -n "$(dpkg --audit 2>/dev/null)" ]; then
        # An installation that was interrupted: apt refuses to go on before that.
        root_step env DEBIAN_FRONTEND=noninteractive dpkg --configure -a
    fi
    if lists_are_empty; then
        case $manager in
            apt-get) root_step apt-get update ;;
            apk) root_step apk update ;;
            pacman) root_step pacman -Sy --noconfirm ;;
        esac
        return 0
    fi
    for one; do
        case $one in
            rust | go) "want_$one" ;;
            rustfmt | clippy)
                if has rustup; then own_step rustup component add "$one"; else want_one "$one"; fi
                ;;
            *) want_one "$one" ;;
        esac
    done
    [ -n "$wanted_packages$release_packages" ] || return 0
    case $manager in
        apt-get)
            [ "$updated" = yes ] || root_step apt-get update
            [ -z "$wanted_packages" ] || root_step "$apt $wanted_packages"
            [ -z "$release_packages" ] || root_step "$apt $release_packages"
            ;;
        dnf) root_step dnf install -y "$wanted_packages" ;;
        apk) root_step apk add "$wanted_packages" ;;
        pacman) root_step pacman -S --needed --noconfirm "$wanted_packages" ;;
        brew) root_step brew install "$wanted_packages" ;;
    esac
}

# === Asking, and doing it ===

show_steps() {
    if [ "$as_root" = no ] && [ -n "$root_steps" ]; then say '  # as root'; fi
    printf %s "$root_steps" | while IFS= read -r line; do say "  $sudo$line"; done
    if [ "$as_root" = no ] && [ -n "$root_steps" ] && [ -n "$own_steps" ]; then say '  # as yourself'; fi
    printf %s "$own_steps" | while IFS= read -r line; do say "  $line"; done
}

run_steps() {
    all=$(
        printf %s "$root_steps" | while IFS= read -r line; do say "$sudo$line"; done
        printf %s "$own_steps"
    )
    # Not by a pipe: what is run may ask on the terminal.
    while [ -n "$all" ]; do
        line=${all%%
*}
        case $all in
            *"
"*) all=${all#*
} ;;
            *) all= ;;
        esac
        say "+ $line"
        # Rust and Go that a step has brought are used by the next one.
        PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin sh -c "$line" && continue
        if [ -n "$sudo" ] && [ "${line#"$sudo"}" != "$line" ]; then
            say "If you may not use ${sudo% }, ask your administrator to run these commands; then run $me again:"
            show_steps
        fi
        fail "\"$line\" failed, and its message is above: check the network and the room on the disk, and run $me again"
    done
}

describe() {
    case $1 in
        rust) name="Rust $RUST or newer" ;;
        go) name="Go $GO or newer" ;;
        cc) name="a C compiler" ;;
        c++) name="a C++ compiler" ;;
        certificates) name="root certificates" ;;
        venv) name="Python's venv" ;;
        initdb) name="PostgreSQL's server" ;;
        *) name=$1 ;;
    esac
    say "  $name: $(why "$1")${2:+ (here is $2)}"
}

# Leaves in `missing` which of some things are not there, and describes each.
look_for() {
    missing=
    lines=
    for one; do
        if ! find_one "$one"; then
            missing="${missing:+$missing }$one"
            lines="$lines$(describe "$one" "$found")
"
        fi
    done
}

refuse() {
    say "$1"
    show_steps
    exit 1
}

# Sees to it that some things of packages.txt are there: says what is missing and why, and
# installs it if the user agrees. Ends the script where that is not to be.
need() {
    rust_tried=no
    go_tried=no
    updated=no
    last_plan=
    look_for "$@"
    [ -n "$missing" ] || return 0
    say "Missing on this machine:"
    printf %s "$lines"
    # Each turn has one more way to try: the update of lists, the system's packages, the language's
    # own installer.
    for turn in 1 2 3; do
        # shellcheck disable=SC2086 # one word for each thing
        plan $missing
        [ -z "$unknown" ] || cannot_install
        # What did not help will not help the next time.
        [ "$root_steps$own_steps" != "$last_plan" ] || break
        last_plan=$root_steps$own_steps
        if [ "$as_root" = no ] && [ -n "$root_steps" ]; then
            refuse "You are not root, and sudo is not installed. These commands install it; then run $me again:"
        fi
        if [ "$yes" != 1 ]; then
            [ -t 0 ] || refuse "Not a terminal. These commands install it, and $me --yes runs them:"
            say "These commands install it:"
            show_steps
            printf 'Run them now? [y/N] '
            read -r answer || answer=
            case $answer in
                y | Y | yes | Yes) ;;
                *) refuse "Nothing was installed. Once you have run these commands, run $me again:" ;;
            esac
        fi
        run_steps
        ! lists_are_empty || fail "$manager offers no packages: check the network and the list of its servers"
        updated=yes
        hash -r
        # shellcheck disable=SC2086 # one word for each thing
        look_for $missing
        [ -n "$missing" ] || return 0
        [ "$turn" = 3 ] || say "Still missing:
$lines"
    done
    fail "still missing after the installation: $missing. Install it by hand and run $me again"
}

# Shows how to install some things that are missing, and ends the script.
show_plan() {
    rust_tried=no
    go_tried=no
    updated=no
    say "Missing on this machine:"
    printf %s "$lines"
    plan "$@"
    [ -z "$unknown" ] || cannot_install
    refuse "These commands install it; then run $me again:"
}

cannot_install() {
    if [ -z "$manager" ]; then
        say "This system has none of apt, dnf, apk, pacman and brew. Install these, then run $me again:"
    else
        say "$manager has no package for these. Install them, then run $me again:"
    fi
    # shellcheck disable=SC2086 # one word for each thing
    for one in $unknown; do describe "$one" ''; done
    if [ -n "$root_steps$own_steps" ]; then
        say "The rest comes with:"
        show_steps
    fi
    exit 1
}
