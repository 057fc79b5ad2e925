"""The OpenAI SDK for Python: each of its calls once, with the usage that it read."""

import json
import sys

import openai

base, model, closed = sys.argv[1:4]
client = openai.OpenAI(base_url=f"{base}/v1", api_key="unused", max_retries=0, timeout=60)
messages = [{"role": "user", "content": "Say hello."}]
calls = []


def note(name, text, usage, stream=False):
    """Remembers a call; chat and responses name their counts differently."""
    counts = usage.model_dump()
    calls.append(
        {
            "name": name,
            "stream": stream,
            "text": text,
            "input": counts.get("prompt_tokens", counts.get("input_tokens")),
            "output": counts.get("completion_tokens", counts.get("output_tokens")),
        }
    )


chat = client.chat.completions.create(model=model, messages=messages, max_tokens=20)
note("chat", chat.choices[0].message.content, chat.usage)

text, usage = "", None
for chunk in client.chat.completions.create(
    model=model,
    messages=messages
    + [
        {"role": "assistant", "content": chat.choices[0].message.content},
        {"role": "user", "content": "Again."},
    ],
    max_tokens=20,
    stream=True,
    stream_options={"include_usage": True},
):
    text += "".join(choice.delta.content or "" for choice in chunk.choices)
    usage = chunk.usage or usage
note("chat", text, usage, stream=True)

response = client.responses.create(model=model, input="Say hello.", max_output_tokens=20)
note("responses", response.output_text, response.usage)

text, usage = "", None
for event in client.responses.create(
    model=model, input="Say hello.", max_output_tokens=20, stream=True
):
    if event.type == "response.output_text.delta":
        text += event.delta
    elif event.type in ("response.completed", "response.incomplete"):
        usage = event.response.usage
note("responses", text, usage, stream=True)

embedding = client.embeddings.create(model=model, input=["one", "two"])
note("embeddings", len(embedding.data[1].embedding), embedding.usage)

completion = client.completions.create(model=model, prompt="Once upon", max_tokens=10)
note("completions", completion.choices[0].text, completion.usage)

refusals = {}
for name, call in {
    "chat": lambda: client.chat.completions.create(model="unknown", messages=messages),
    "responses": lambda: client.responses.create(model="unknown", input="hello"),
    "embeddings": lambda: client.embeddings.create(model="unknown", input="hello"),
    # A gateway that grants nothing.
    "closed": lambda: client.with_options(base_url=f"{closed}/v1").chat.completions.create(
        model=model, messages=messages
    ),
}.items():
    try:
        call()
    except openai.APIStatusError as error:
        refusals[name] = {"class": type(error).__name__, "message": str(error)}

json.dump(
    {
        "calls": calls,
        "models": [entry.id for entry in client.models.list()],
        "refusals": refusals,
    },
    sys.stdout,
)
