#!/usr/bin/env python3
"""Counts the instructions that Iris executes for fixed scripts, and compares them with their bounds.

    count.py [--bounds FILE] PROGRAM     measures under callgrind, writes target/instructions.txt, compares
    count.py --counts FILE               compares counts that were measured before

A count doesn't depend on what else the machine does, so it shows a change of a few per cent that a time can't. Each
count is a difference: so many repetitions more cost so many instructions more. That leaves out the start and
everything that happens once. The provider and the caller are this process, which takes one step after the other:
Iris never has two things to do at the same time, and one processor to do them on, so its threads can't race.

The ledger gathers records by the clock, so for its count a request is sent every PERIOD: each record is written alone,
which is the dearest way, and as many are folded at once on a fast machine as on a slow one.

Kernel time isn't counted, nor how long memory takes. `just bench-quick` measures both.
"""

import argparse
import contextlib
import glob
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
COUNTS = os.path.join(ROOT, "target", "instructions.txt")
BOUNDS = os.path.join(HERE, "bounds.txt")

# Repetitions of each script, and how many are made first for caches, lazy values and buffers to settle.
REPETITIONS = 400
WARMUP = 100
# Seconds from one request to the next where the ledger is counted: longer than it takes under callgrind.
PERIOD = 0.08
# A count this far below its bound is printed, so that you can lower the bound.
SLACK = 0.15
# How far above a count its bound is: counts of one program differ by less, and other compilers count otherwise.
MARGIN = 1.05
# Threads that write the ledger and fold what was written. All others serve requests.
LEDGER = re.compile("^ledger")

ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"hello there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,'
    b'"completion_tokens":3,"total_tokens":12}}'
)
EVENT = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    b'"delta":{"content":"word "},"finish_reason":null}]}\n\n'
)
END = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":'
    b'{"prompt_tokens":9,"completion_tokens":200,"total_tokens":209}}\n\ndata: [DONE]\n\n'
)
# The same as a provider of Anthropic's messages says it.
MESSAGE = (
    b'{"id":"c","type":"message","role":"assistant","model":"t","content":[{"type":"text","text":"hello there"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":3}}'
)


def named(event):
    return b"event: %s\ndata: %s\n\n" % (json.loads(event)["type"].encode(), event)


MESSAGE_BEGIN = named(
    b'{"type":"message_start","message":{"id":"c","type":"message","role":"assistant","model":"t","content":[],'
    b'"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}}'
) + named(b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}')
MESSAGE_EVENT = named(b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"word "}}')
MESSAGE_END = (
    named(b'{"type":"content_block_stop","index":0}')
    + named(
        b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"output_tokens":200}}'
    )
    + named(b'{"type":"message_stop"}')
)


class Connection:
    """One connection of HTTP/1.1, blocking, with what came beyond the message that was read."""

    def __init__(self, stream):
        self.stream = stream
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream.settimeout(60)
        self.rest = b""

    def until(self, mark):
        while mark not in self.rest:
            piece = self.stream.recv(1 << 16)
            if not piece:
                raise ConnectionError(f"closed before {mark!r}: {self.rest!r}")
            self.rest += piece
        found, _, self.rest = self.rest.partition(mark)
        return found

    def take(self, length):
        while len(self.rest) < length:
            piece = self.stream.recv(1 << 16)
            if not piece:
                raise ConnectionError("closed within a body")
            self.rest += piece
        taken, self.rest = self.rest[:length], self.rest[length:]
        return taken

    def message(self):
        """The head and the body of a message with a content-length, or in chunks."""
        head = self.until(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length:
            return head, self.take(int(length.group(1)))
        body = b""
        while size := int(self.until(b"\r\n"), 16):
            body += self.take(size)
            self.until(b"\r\n")
        self.until(b"\r\n")
        return head, body

    def chunk(self, data):
        self.stream.sendall(b"%x\r\n%s\r\n" % (len(data), data))


def request(port, model, stream):
    body = json.dumps(
        {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]},
        separators=(",", ":"),
    ).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nuser-agent: count\r\n"
        b"authorization: Bearer any\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (port, len(body), body)
    )


class Gateway:
    """Iris under callgrind, in front of the provider that this process is."""

    def __init__(self, program, folder, translates=False):
        self.folder = folder
        self.dumps = 0
        self.provider = socket.create_server(("127.0.0.1", 0))
        self.provider.settimeout(60)
        # The connection of each provider, by its model.
        self.upstreams = {}
        self.port = port = free_port()
        upstream = "http://127.0.0.1:%d" % self.provider.getsockname()[1]
        config = {
            "tailnet": {"mode": "off"},
            "listen": {"loopback": f"127.0.0.1:{port}"},
            "providers": {
                # What callers of chat ask of the second one is translated.
                "t": {"baseurl": upstream, "models": ["t"], "compatibility": {"anthropic_messages": True}}
            }
            if translates
            else {"p": {"baseurl": upstream, "models": ["m"]}},
            "prices": {"m": {"input": "0.1", "output": "0.4"}, "t": {"input": "0.1", "output": "0.4"}},
            "quotas": {"daily:<user>": {"capacity": "$1000000.00", "rate": "$1000000.00/day"}},
            "grants": [
                {
                    "src": ["(loopback)"],
                    "app": {
                        "tailscale.com/cap/aperture": [
                            {"role": "admin"},
                            {"models": "**", "quotas": [{"bucket": "daily:<user>"}]},
                        ]
                    },
                }
            ],
        }
        path = os.path.join(folder, "iris.hujson")
        with open(path, "w") as file:
            json.dump(config, file)
        self.log = os.path.join(folder, "log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={folder}/out"]
                + [program, "serve", "--config", path, "--state-dir", os.path.join(folder, "state")],
                stdout=log,
                stderr=log,
                # One processor here and in CI: the number of threads follows from it.
                preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
                env={k: v for k, v in os.environ.items() if not k.startswith(("IRIS_", "TOKIO_"))},
            )
        self.caller = Connection(self.connect(port))

    def connect(self, port):
        for _ in range(600):
            try:
                return socket.create_connection(("127.0.0.1", port))
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    sys.exit(f"the gateway ended: {open(self.log).read()}")
                time.sleep(0.2)
        sys.exit("the gateway doesn't listen after two minutes")

    def asked(self, model):
        """The connection of a model's provider, which has read a request."""
        if model in self.upstreams:
            try:
                self.upstreams[model].message()
                return self.upstreams[model]
            except ConnectionError:
                # The gateway closes connections that are idle for long, and opens another one.
                pass
        ready, _, _ = select.select([self.provider, self.caller.stream], [], [], 60)
        if self.provider not in ready:
            sys.exit(f"no request came to the provider: {self.caller.stream.recv(4096) if ready else self.log}")
        self.upstreams[model] = Connection(self.provider.accept()[0])
        self.upstreams[model].message()
        return self.upstreams[model]

    def small(self, times, model="m", answer=ANSWER):
        for _ in range(times):
            self.caller.stream.sendall(request(self.port, model, False))
            self.asked(model).stream.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                % (len(answer), answer)
            )
            head, body = self.caller.message()
            assert head.startswith(b"HTTP/1.1 200"), (head, body)
            if model == "m":
                assert body == ANSWER, body
            else:
                said = json.loads(body)
                assert said["choices"][0]["message"]["content"] == "hello there", said

    def translated(self, times):
        self.small(times, "t", MESSAGE)

    def paced(self, times):
        due = time.monotonic()
        for _ in range(times):
            time.sleep(max(0.0, due - time.monotonic()))
            while is_running(self.process.pid):
                time.sleep(0.005)
            due = max(due, time.monotonic()) + PERIOD
            self.small(1)

    def refused(self, times):
        for _ in range(times):
            self.caller.stream.sendall(request(self.port, "unknown", False))
            head, _ = self.caller.message()
            assert head.startswith(b"HTTP/1.1 4"), head

    def stream(self, events, model="m", begin=None, event=EVENT, end=END):
        """One stream. The provider sends an event when the caller has the one before it."""
        self.caller.stream.sendall(request(self.port, model, True))
        upstream = self.asked(model)
        upstream.stream.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        head = self.caller.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        if begin:
            upstream.chunk(begin)
            self.caller.until(b"\n\n\r\n")
        for _ in range(events):
            upstream.chunk(event)
            self.caller.until(b"\n\n\r\n")
        upstream.chunk(end)
        upstream.stream.sendall(b"0\r\n\r\n")
        self.caller.until(b"\r\n0\r\n\r\n")

    def translated_stream(self, events):
        self.stream(events, "t", MESSAGE_BEGIN, MESSAGE_EVENT, MESSAGE_END)

    def cost(self, run, times):
        """Instructions of the threads that serve, and of the ledger's, from here until all is written."""
        self.settle()
        self.dump()
        run(times)
        self.settle()
        return self.dump()

    def settle(self):
        """Waits until the process has nothing left to do: records that wait are written and folded."""
        quiet = 0
        before = cpu(self.process.pid)
        while quiet < 4:
            time.sleep(0.5)
            now = cpu(self.process.pid)
            quiet = quiet + 1 if now - before <= 3 else 0
            before = now

    def dump(self):
        """What each thread has executed since the last call, added up by kind."""
        self.dumps += 1
        names = threads(self.process.pid)
        done = subprocess.run(["vgdb", f"--pid={self.process.pid}", "dump"], capture_output=True, text=True)
        if not any(map(LEDGER.match, names.values())):
            sys.exit(f"no thread has the ledger's name, so records would count as requests: {names}")
        serving = ledger = 0
        found = glob.glob(f"{self.folder}/out.{self.dumps}-*")
        if not found:
            sys.exit(f"callgrind wrote nothing: {done.stdout}{done.stderr}")
        for path in found:
            with open(path) as file:
                total = int(re.search(r"^(?:totals|summary): (\d+)", file.read(), re.M).group(1))
            number = int(path.rsplit("-", 1)[1])
            # Threads that ended meanwhile have no name any more: they served.
            if LEDGER.match(names.get(number, "")):
                ledger += total
            else:
                serving += total
        return serving, ledger

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def cpu(pid):
    """CPU time of a process so far, in hundredths of a second."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def is_running(pid):
    """Whether one of a process's threads does something, or would if it had a processor."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{task}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] in "RD":
                return True
    return False


def threads(pid):
    """Names of threads by their number in callgrind."""
    asked = subprocess.run(["vgdb", f"--pid={pid}", "v.info", "scheduler"], capture_output=True, text=True)
    names = {}
    for number, task in re.findall(r"^Thread (\d+): .*\(lwpid (\d+)\)", asked.stdout, re.M):
        # One that has ended has the number 0, and one may end just now.
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{task}/comm") as file:
            names[int(number)] = file.read().strip()
    if not names:
        sys.exit(f"valgrind names no threads: {asked.stdout}{asked.stderr}")
    return names


def measure(program):
    if not shutil.which("valgrind"):
        sys.exit("error: valgrind isn't installed: install it with the system's packages")
    folder = tempfile.mkdtemp(prefix="iris-count-")
    counts = {}

    def per(gateway, run):
        # So that a new connection to the provider isn't counted.
        run(1)
        few, many = REPETITIONS // 4, REPETITIONS + REPETITIONS // 4
        one, other = gateway.cost(run, few), gateway.cost(run, many)
        return [(more - less) / REPETITIONS for less, more in zip(one, other)]

    for translates in (False, True):
        place = os.path.join(folder, "translating" if translates else "native")
        os.mkdir(place)
        gateway = Gateway(program, place, translates)
        try:
            if translates:
                gateway.translated(WARMUP)
                gateway.translated_stream(WARMUP)
                counts["translated"], _ = per(gateway, gateway.translated)
                counts["translated-event"], _ = per(gateway, gateway.translated_stream)
            else:
                gateway.small(WARMUP)
                gateway.refused(WARMUP // 4)
                gateway.stream(WARMUP)
                counts["request"], _ = per(gateway, gateway.small)
                counts["event"], _ = per(gateway, gateway.stream)
                counts["refusal"], _ = per(gateway, gateway.refused)
                _, counts["record"] = per(gateway, gateway.paced)
        finally:
            gateway.end()
    shutil.rmtree(folder, ignore_errors=True)
    return counts


def table(path):
    """Lines of `NAME NUMBER REASON`."""
    with open(path) as file:
        lines = [line.split(None, 2) for line in file if line.strip() and not line.startswith("#")]
    return {words[0]: int(words[1]) for words in lines}


def compare(counts, bounds):
    """What is wrong, as sentences, and what could be better."""
    errors, notices = [], []
    for name in sorted(counts.keys() ^ bounds.keys()):
        errors.append(f"{name}: the script is only in {'count.py' if name in counts else 'the bounds'}")
    for name in (name for name in counts if name in bounds):
        count, bound = counts[name], bounds[name]
        if count > bound:
            errors.append(
                f"{name}: {count:,} instructions, {count / bound - 1:.1%} more than the bound of {bound:,}. Find what "
                "costs them (docs/PERFORMANCE.md, \"Instruction counts\"), or raise the bound in "
                "benches/instructions/bounds.txt and say in its line what is worth it."
            )
        elif count < bound * (1 - SLACK):
            notices.append(
                f"{name}: {count:,} instructions, {1 - count / bound:.1%} less than the bound of {bound:,}. "
                f"Lower it in benches/instructions/bounds.txt to {round(count * MARGIN / 1000) * 1000}, so that the gain stays."
            )
    return errors, notices


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bounds", default=BOUNDS)
    parser.add_argument("--counts")
    parser.add_argument("program", nargs="?")
    words = parser.parse_args()
    if words.counts:
        counts = table(words.counts)
    elif words.program:
        counts = {name: round(count) for name, count in measure(os.path.abspath(words.program)).items()}
        os.makedirs(os.path.dirname(COUNTS), exist_ok=True)
        with open(COUNTS, "w") as file:
            file.writelines(f"{name} {count}\n" for name, count in counts.items())
    else:
        parser.error("name the program to measure, or counts to compare")
    bounds = table(words.bounds)
    print(f"{'script':16}{'instructions':>14}{'bound':>10}")
    for name, count in counts.items():
        print(f"{name:16}{count:14,}{bounds.get(name, 0):10,}")
    errors, notices = compare(counts, bounds)
    for notice in notices:
        print(f"notice: {notice}")
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    sys.exit(bool(errors))


if __name__ == "__main__":
    main()
