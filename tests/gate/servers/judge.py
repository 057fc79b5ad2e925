"""Says what it reads in bodies: each comes behind its length, four bytes."""

import json
import struct
import sys

read, write = sys.stdin.buffer, sys.stdout


def text(value):
    if value is None:
        return "-"
    if not isinstance(value, str):
        return "!"
    return value.encode("utf-8", "surrogatepass").hex()


def flag(value):
    return {None: "-", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else "!"


def number(value):
    if value is None:
        return "-"
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else "!"


while head := read.read(4):
    body = read.read(struct.unpack(">I", head)[0])
    try:
        seen = json.loads(body)
        line = "|".join((text(seen.get("model")), flag(seen.get("stream")), number(seen.get("max_tokens"))))
    except (ValueError, AttributeError, RecursionError):
        line = "x"
    write.write(line + "\n")
    write.flush()
