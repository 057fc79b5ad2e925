"""The Anthropic SDK for Python: each of its calls once, with the usage that it read."""

import json
import sys

import anthropic

base, model, closed = sys.argv[1:4]
client = anthropic.Anthropic(base_url=base, api_key="unused", max_retries=0, timeout=60)
messages = [{"role": "user", "content": "Say hello."}]
calls = []


def note(message, stream):
    """Remembers a call; what a cache took or served is counted apart from the rest."""
    usage = message.usage
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    calls.append(
        {
            "name": "messages",
            "stream": stream,
            "text": "".join(block.text for block in message.content if block.type == "text"),
            "input": usage.input_tokens + cached + written,
            "output": usage.output_tokens,
        }
    )


whole = client.messages.create(model=model, max_tokens=20, messages=messages)
note(whole, False)
turns = [
    *messages,
    {"role": "assistant", "content": calls[0]["text"] or "-"},
    {"role": "user", "content": "Again."},
]
with client.messages.stream(model=model, max_tokens=20, messages=turns) as stream:
    said = "".join(stream.text_stream)
    note(stream.get_final_message(), True)
count = client.messages.count_tokens(model=model, messages=messages)
calls.append({"name": "count_tokens", "stream": False, "text": count.input_tokens})

refusals = {}
for name, call in {
    "messages": lambda: client.messages.create(model="unknown", max_tokens=5, messages=messages),
    "count_tokens": lambda: client.messages.count_tokens(model="unknown", messages=messages),
    # A gateway that grants nothing.
    "closed": lambda: client.with_options(base_url=closed).messages.create(
        model=model, max_tokens=5, messages=messages
    ),
}.items():
    try:
        call()
    except anthropic.APIStatusError as error:
        refusals[name] = {"class": type(error).__name__, "message": str(error)}
json.dump({"calls": calls, "said": said, "refusals": refusals}, sys.stdout)
