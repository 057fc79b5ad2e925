"""The Google GenAI SDK for Python: each of its calls once, with the usage that it read."""

import json
import sys

from google import genai
from google.genai import errors, types

base, model, closed = sys.argv[1:4]
calls = []


def at(url):
    """A client of the gateway at an address."""
    return genai.Client(api_key="unused", http_options=types.HttpOptions(base_url=url))


# A client that nobody holds any more closes its connections, even in a call.
client, refused = at(base), at(closed)


def note(usage, text, stream):
    """Remembers a call; thoughts are counted apart from what is said."""
    calls.append(
        {
            "name": "generate",
            "stream": stream,
            "text": text,
            "input": usage.prompt_token_count,
            "output": usage.candidates_token_count + (usage.thoughts_token_count or 0),
        }
    )


whole = client.models.generate_content(model=model, contents="Say hello.")
note(whole.usage_metadata, whole.text, False)
text, usage = "", None
for chunk in client.models.generate_content_stream(model=model, contents="Say hello."):
    text += chunk.text or ""
    usage = chunk.usage_metadata or usage
note(usage, text, True)
count = client.models.count_tokens(model=model, contents="Say hello.")
calls.append({"name": "count", "stream": False, "text": count.total_tokens})
embedded = client.models.embed_content(model=model, contents=["one", "two"])
calls.append(
    {"name": "embed", "stream": False, "text": [len(each.values) for each in embedded.embeddings]}
)

refusals = {}
for name, call in {
    "generate": lambda: client.models.generate_content(model="unknown", contents="hello"),
    "stream": lambda: list(
        client.models.generate_content_stream(model="unknown", contents="hello")
    ),
    "count": lambda: client.models.count_tokens(model="unknown", contents="hello"),
    # A gateway that grants nothing.
    "closed": lambda: refused.models.generate_content(model=model, contents="hello"),
}.items():
    try:
        call()
    except errors.ClientError as error:
        refusals[name] = {
            "class": type(error).__name__,
            "code": error.code,
            "status": error.status,
            "message": error.message,
        }
json.dump({"calls": calls, "refusals": refusals}, sys.stdout)
