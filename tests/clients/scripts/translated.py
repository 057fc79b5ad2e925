"""What the scripts of translated calls share: the models to call, a tool that reads a note, a schema,
and what is printed of each response."""

import json
import sys
from pathlib import Path

base = sys.argv[1]
# Each as {"model": …, "format": …, "calls": …, "structured": …}: the format that its provider speaks, whether
# its model calls tools if it is "forced" or "free" to, and whether it keeps to a schema.
targets = json.loads(sys.argv[2])
NOTE = sys.argv[3]

SYSTEM = "You are brief."
HELLO = "Say hello."
ASK = "What does the note say?"
WHERE = "Name a city."
TOOL = "read_file"
ABOUT = "Reads a file."
PARAMETERS = {
    "type": "object",
    "properties": {"file_path": {"type": "string", "enum": [NOTE]}},
    "required": ["file_path"],
}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
SHORT, LONG = 20, 400

calls = []


def models(own):
    """The models whose providers don't speak the format of the caller, and what they can."""
    for target in targets:
        if target["format"] != own:
            yield target["model"], target["calls"], target["structured"]


def run(arguments):
    """Runs the tool with the arguments that the model wrote."""
    return Path(arguments["file_path"]).read_text()


def note(name, kind, model, **said):
    """Remembers a response: what was said, why it ended, the call of a tool, and the counts."""
    calls.append({"name": name, "kind": kind, "model": model, **said})


def end():
    """Prints all of them."""
    json.dump(calls, sys.stdout)
