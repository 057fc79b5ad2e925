"""Ollama's package for Python: each of its calls once, with the usage that it read."""

import json
import sys

import ollama

base, model, closed = sys.argv[1:4]
client = ollama.Client(host=base, timeout=60)
messages = [{"role": "user", "content": "Say hello."}]
options = {"num_predict": 20, "num_ctx": 1024}
calls = []


def note(name, text, last, stream=False):
    """Remembers a call."""
    counts = (last.prompt_eval_count, last.eval_count)
    calls.append(
        {"name": name, "stream": stream, "text": text, "input": counts[0], "output": counts[1]}
    )


chat = client.chat(model=model, messages=messages, options=options)
note("ollama_chat", chat.message.content, chat)

again = [*messages, chat.message, {"role": "user", "content": "Again."}]
text, part = "", None
for part in client.chat(model=model, messages=again, options=options, stream=True):
    text += part.message.content or ""
note("ollama_chat", text, part, stream=True)

completion = client.generate(model=model, prompt="Say hello.", options=options, keep_alive="5m")
note("ollama_generate", completion.response, completion)

text, part = "", None
for part in client.generate(model=model, prompt="Say hello.", options=options, stream=True):
    text += part.response or ""
note("ollama_generate", text, part, stream=True)

embedding = client.embed(model=model, input=["one", "two"])
note("ollama_embed", len(embedding.embeddings[1]), embedding)

shown = client.show(model)
assert "completion" in shown.capabilities, shown
assert client.ps().models == [], client.ps()

refusals = {}
for name, call in {
    "chat": lambda: client.chat(model="unknown", messages=messages),
    "generate": lambda: client.generate(model="unknown", prompt="hello"),
    # A gateway that grants nothing.
    "closed": lambda: ollama.Client(host=closed).chat(model=model, messages=messages),
}.items():
    try:
        call()
    except ollama.ResponseError as error:
        refusals[name] = {
            "class": type(error).__name__,
            "code": error.status_code,
            "message": error.error,
        }
try:
    client.pull("unknown")
except ollama.ResponseError as error:
    assert "managed at their providers" in error.error, error

json.dump(
    {"calls": calls, "models": [entry.model for entry in client.list().models], "refusals": refusals},
    sys.stdout,
)
