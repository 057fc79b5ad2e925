#!/usr/bin/env python3
"""Changes the code in small ways, one at a time, and looks whether a test notices: in the modules
that are named, or in those below. cargo-mutants says what changes there are. All of a group are compiled
together, each as another body of its function, and switched on one by one: a second for each, where
a build of its own would take a minute.

    tests/mutants.py [access records/entry.rs ...]      SHARD=0/4 tries a quarter of each

What nobody noticed is printed, and in target/mutants with the rest."""

import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "target/mutants"
VERSION = "27.1.0"
# The folder and its files; the tests that may notice, one call of them after the other; and those
# of tests/ledger that are among them as `every_store`.
BUDGETS = "File::budgets Postgres::budgets"
STORES = """Memory::queries Memory::written Memory::exports File:: Postgres::queries Postgres::written Postgres::reports Postgres::retention
    Postgres::outbox Postgres::exports Postgres::audit Postgres::chats Postgres::budgets Postgres::faults"""
GROUPS = {
    "wire": ("wire", ["json/**", "sse.rs", "mask.rs", "headers.rs"], ["wire"], ""),
    "listen": ("net/listen", ["**"], ["net::listen"], ""),
    "access": ("policy/access", ["**"], ["policy::access"], ""),
    "bucket": ("base/bucket", ["**"], ["base::bucket"], ""),
    "budget": ("policy/budget", ["**"], ["policy::budget"], ""),
    "balances": (
        "records/balances",
        ["**"],
        ["records::balances --skip interleavings", "every_store", "interleavings"],
        BUDGETS,
    ),
    "records": ("records", ["**"], ["records:: --skip long_", "every_store", "long_"], STORES),
}

# Stands in the library beside the modules.
SWITCH = """
pub fn mutant() -> usize {
    static ACTIVE: std::sync::LazyLock<usize> = std::sync::LazyLock::new(|| {
        std::env::var("IRIS_MUTANT").map_or(0, |number| number.parse().unwrap())
    });
    *ACTIVE
}
"""

# Makes tests/ledger a part of the library's own tests.
SUITE = """
#[cfg(test)]
extern crate self as iris;
#[cfg(test)]
#[path = "../tests/ledger/main.rs"]
mod suite;
#[test]
fn every_store() {
    let wanted = "%s";
    let is_wanted = |name: &str| wanted.split(' ').any(|start| name.starts_with(start));
    assert_eq!(suite::check(is_wanted), std::process::ExitCode::SUCCESS);
}
"""


class Mutant:
    """A change: the text between two places of a file is replaced."""

    def __init__(self, found, number, text):
        self.number, self.name, self.file = number, found["name"], found["file"]
        self.start, self.end = (place(text, found["span"][side]) for side in ("start", "end"))
        self.replacement = found["replacement"]
        function = found["function"]
        self.function = function and tuple(
            place(text, function["span"][side]) for side in ("start", "end")
        )


def place(text, position):
    """Where a line and a column, counted from one, lie in a text."""
    lines = text.split("\n")
    before = sum(len(line) + 1 for line in lines[: position["line"] - 1])
    return before + position["column"] - 1


def one_library():
    """The roots of both packages as one."""
    lower = (ROOT / "src/core.rs").read_text()
    upper = (ROOT / "src/lib.rs").read_text()
    upper = re.sub(r"//!.*\n|(#\[cfg.*\]\n)?pub use iris_core::.*\n", "", upper)
    return lower + upper


def manifest():
    """The manifests of both packages as one, with what a library needs."""
    one = tomllib.loads((ROOT / "Cargo.toml").read_text())
    lower = tomllib.loads((ROOT / "core/Cargo.toml").read_text())
    del one["dependencies"]["iris-core"], one["test"], one["bench"]
    one["workspace"] |= {"members": ["tests/support"], "default-members": ["."]}
    for table in ("dependencies", "dev-dependencies"):
        one[table] = lower[table] | one[table]
    for name, parts in one["features"].items():
        own = [part for part in parts if not part.startswith("iris-core/")]
        one["features"][name] = own + [part for part in lower["features"][name] if part not in own]
    lines = []
    for name, table in one.items():
        lines.append(f"[{name}]")
        lines += [f"{json.dumps(key)} = {inline(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def inline(value):
    """A value as TOML, in one line."""
    match value:
        case dict():
            pairs = (f"{json.dumps(key)} = {inline(one)}" for key, one in value.items())
            return "{ " + ", ".join(pairs) + " }"
        case list():
            return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


def tree(name):
    """A package of the library, with the tests of a group."""
    _, _, _, stores = GROUPS[name]
    made = TARGET / name
    shutil.rmtree(made, ignore_errors=True)
    (made / "tests").mkdir(parents=True)
    for part in ("src", "docs", "config", "tests/support", "tests/fixtures"):
        shutil.copytree(ROOT / part, made / part)
    shutil.copy(ROOT / "Cargo.lock", made)
    (made / "Cargo.toml").write_text(manifest())
    (made / "src/main.rs").unlink()
    library = "#![allow(warnings)]\n" + one_library()
    if stores:
        library += SUITE % " ".join(stores.split())
        shutil.copytree(ROOT / "tests/ledger", made / "tests/ledger")
        for file in (made / "tests/ledger").glob("*.rs"):
            file.write_text(re.sub(r"\bcrate::", "crate::suite::", file.read_text()))
    (made / "src/lib.rs").write_text(library + SWITCH)
    return made


def listed(made, name, files):
    """The changes that cargo-mutants would try, or the share of them that is asked for."""
    folder = GROUPS[name][0]
    files = [f"--file=src/{folder}/{file}" for file in files]
    found = subprocess.run(
        ["cargo", "mutants", "--list", "--json", "--dir", made, *files],
        check=True,
        stdout=subprocess.PIPE,
    )
    texts, mutants = {}, []
    for number, one in enumerate(json.loads(found.stdout), start=1):
        file = one["file"]
        text = texts.setdefault(file, (made / file).read_text())
        mutants.append(Mutant(one, number, text))
    nth, count = map(int, os.environ.get("SHARD", "0/1").split("/"))
    return mutants[nth::count]


def body(text, start, end):
    """Where the body of the function between two places begins and ends, and how a value of it is
    made one of several; none where that can't be."""
    signature = re.compile(r"//[^\n]*|\"(?:\\.|[^\"\\])*\"|#\[[^\]]*\]|[({\[\])]|\bfn\b|\bconst fn\b")
    depth, begun = 0, False
    for token in signature.finditer(text, start, end):
        match token[0]:
            case "const fn":
                return None
            case "fn":
                begun = True
            case "(" | "[":
                depth += 1
            case ")" | "]":
                depth -= 1
            case "{" if begun and depth == 0:
                # Bodies return different iterators, of which a function can return one type.
                opaque = re.search(r"->\s*impl\s+(\w+)", text[start : token.start()])
                if opaque and opaque[1] != "Iterator":
                    return None
                boxed = ("Box::new(", ") as Box<dyn Iterator<Item = _> + '_>,")
                return token.start(), end, boxed if opaque else ("", "")
    return None


def weave(original, made, mutants):
    """Writes the files with all changes in them. Answers with the lines of each change, the lines
    of each function, and the changes that have no place."""
    lines, functions, out = [], [], []
    files = collections.defaultdict(list)
    for mutant in mutants:
        files[mutant.file].append(mutant)
    for file, all_of_file in files.items():
        text = original[file]
        spans = {mutant.function for mutant in all_of_file if mutant.function}
        groups = collections.defaultdict(list)
        for mutant in all_of_file:
            # A function within another is a part of its body.
            around = [span for span in spans if span[0] <= mutant.start and mutant.end <= span[1]]
            bounds = around and body(text, *min(around))
            if not bounds or mutant.start < bounds[0]:
                out.append(mutant)
            else:
                groups[bounds].append(mutant)
        woven, last = "", 0
        for (start, end, (before, after)), some in sorted(groups.items()):
            woven += text[last:start]
            # With the line that says what it returns.
            first = woven.count("\n") + 1
            woven += "{ match crate::mutant() {\n"
            for mutant in some:
                begun = woven.count("\n") + 1
                changed = text[start : mutant.start] + mutant.replacement + text[mutant.end : end]
                woven += f"{mutant.number} => {before}{changed}{after}\n"
                lines.append((file, begun, woven.count("\n"), [mutant]))
            woven += f"_ => {before}{text[start:end]}{after}\n}} }}"
            functions.append((file, first, woven.count("\n") + 1, some))
            last = end
        (made / file).write_text(woven + text[last:])
    return lines, functions, out


def environment(**more):
    return {
        **os.environ,
        "CARGO_TARGET_DIR": str(TARGET / "build"),
        "IRIS_GRANT_CASES": "5000",
        # It would start once more to give itself this.
        "SSL_CERT_FILE": str(ROOT / "tests/fixtures/ai.tail.test.crt"),
        **more,
    }


def compiled(made):
    """The program of the tests, or what the compiler says."""
    command = ["cargo", "rustc", "--lib", "--profile", "test", "--message-format=json", "--quiet"]
    command += ["--no-default-features", "--features", "postgres", "--", "--cap-lints", "allow"]
    built = subprocess.run(
        command, cwd=made, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    program, errors = None, []
    for message in map(json.loads, built.stdout.splitlines()):
        if message["reason"] == "compiler-artifact" and message["target"]["name"] == "iris":
            program = message["executable"] or program
        elif message["reason"] == "compiler-message" and message["message"]["level"] == "error":
            errors.append(message["message"])
    if built.returncode and not errors:
        sys.exit(built.stderr.decode())
    return (None, errors) if built.returncode else (program, [])


def build(made, name, files):
    """A program with all changes that compile. Answers with it, with them, and with the others."""
    mutants = listed(made, name, files)
    original = {mutant.file: (made / mutant.file).read_text() for mutant in mutants}
    unviable, untried = [], []
    while True:
        lines, functions, out = weave(original, made, mutants)
        untried += out
        program, errors = compiled(made)
        gone = set(out)
        for error in errors:
            places = [span for span in error["spans"] if span["is_primary"]]
            for ranges, pile in ((lines, unviable), (functions, untried)):
                hit = [
                    mutant
                    for span in places
                    for (file, first, last, some) in ranges
                    if file == span["file_name"] and first <= span["line_start"] <= last
                    for mutant in some
                ]
                if hit:
                    pile += [mutant for mutant in hit if mutant not in gone]
                    gone.update(hit)
                    break
            else:
                if places:
                    sys.exit(error["rendered"])
        mutants = [mutant for mutant in mutants if mutant not in gone]
        if program:
            # The next library's has the same name.
            own = shutil.copy(program, made / "tests-with-changes")
            return own, mutants, unviable, untried


def noticed(program, made, tests, number, limit):
    """How the tests end with a change: `caught`, `timeout` or `missed`."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        # A database server is another user.
        os.chmod(place, 0o711)
        run = subprocess.Popen(
            [program, *tests.split()],
            cwd=made,
            env=environment(IRIS_MUTANT=str(number), TMPDIR=place),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        expired = threading.Event()

        def end():
            # With a server that it has left behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)

        def expire():
            expired.set()
            end()

        timer = threading.Timer(limit, expire)
        timer.start()
        # The first that fails is enough.
        failed = any(line.endswith(b" FAILED\n") for line in run.stdout)
        if not failed:
            failed = run.wait() != 0
        timer.cancel()
        end()
        run.wait()
    return "timeout" if expired.is_set() else "caught" if failed else "missed"


def attempt(name, files):
    made, calls = tree(name), GROUPS[name][2]
    program, mutants, unviable, untried = build(made, name, files)
    print(f"{name}: {len(mutants)} changes", flush=True)
    limits = []
    for tests in calls:
        begun = time.monotonic()
        if noticed(program, made, tests, 0, 900) != "missed":
            sys.exit(f"{name}: {tests} fails without a change")
        limits.append(20 + 5 * (time.monotonic() - begun))

    def look(mutant):
        for tests, limit in zip(calls, limits):
            outcome = noticed(program, made, tests, mutant.number, limit)
            if outcome != "missed":
                break
        return outcome

    results = {"unviable": unviable, "untried": untried, "caught": [], "timeout": [], "missed": []}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for mutant, outcome in zip(mutants, pool.map(look, mutants)):
            results[outcome].append(mutant)
            if outcome != "caught":
                print(f"{outcome}: {mutant.name}", flush=True)
    for outcome, some in results.items():
        (made / f"{outcome}.txt").write_text("".join(f"{one.name}\n" for one in some))
    return results


def main():
    files = collections.defaultdict(list)
    for word in sys.argv[1:] or GROUPS:
        name, _, file = word.partition("/")
        files[name] += [file] if file else GROUPS[name][1]
    if f" {VERSION}\n" not in subprocess.run(
        ["cargo", "mutants", "--version"], capture_output=True, text=True
    ).stdout:
        install = ["cargo", "install", "cargo-mutants", "--version", VERSION, "--locked"]
        subprocess.run(install, check=True)
    os.nice(10)
    sums = collections.defaultdict(collections.Counter)
    for name, some in files.items():
        for outcome, some in attempt(name, some).items():
            for mutant in some:
                module = mutant.file.split("/")[1:3]
                sums["/".join(module)][outcome] += 1
    for module, count in sums.items():
        viable = count["caught"] + count["timeout"] + count["missed"]
        print(
            f"{module:16} {viable - count['missed']} of {viable} noticed,"
            f" {count['timeout']} by a timeout; {count['unviable']} do not compile,"
            f" {count['untried']} not tried"
        )
    return any(count["missed"] for count in sums.values())


if __name__ == "__main__":
    sys.exit(main())
