"""Reads what was exported, independently: prints each record of the objects below a folder as a
line of JSON."""

import io
import json
import pathlib
import sys

import cbor2
import zstandard


def plain(value):
    return value.decode() if isinstance(value, bytes) else str(value)


for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.zstd")):
    data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read()
    if path.name.endswith(".jsonl.zstd"):
        records = [json.loads(line) for line in data.splitlines()]
    else:
        stream, records = io.BytesIO(data), []
        while stream.tell() < len(data):
            records.append(cbor2.load(stream))
    for record in records:
        record["object"] = path.name
        print(json.dumps(record, default=plain))
