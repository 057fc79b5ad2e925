"""The Google GenAI SDK for Python: batches of requests that come with them, of files, and of texts to embed."""

import io
import json
import sys
import time

from google import genai
from google.genai import errors

base, model, embeds = sys.argv[1:4]
client = genai.Client(api_key="unused", http_options={"base_url": base})
contents = [{"role": "user", "parts": [{"text": "Say hello."}]}]


def ended(batch):
    """Looks until a batch has ended."""
    for _ in range(300):
        batch = client.batches.get(name=batch.name)
        if batch.state.name not in ("JOB_STATE_PENDING", "JOB_STATE_RUNNING"):
            return batch
        time.sleep(0.1)
    raise TimeoutError(batch)


def text(response):
    return response["candidates"][0]["content"]["parts"][0]["text"]


config = {"max_output_tokens": 20, "system_instruction": "Be brief."}
inline = client.batches.create(
    model=model,
    src=[
        {"contents": contents, "config": config, "metadata": {"key": f"request-{nth}"}}
        for nth in range(2)
    ],
    config={"display_name": "inline"},
)
assert (inline.display_name, inline.model) == ("inline", f"models/{model}"), inline
inline = ended(inline)
assert inline.state.name == "JOB_STATE_SUCCEEDED", inline
assert inline.create_time <= inline.end_time

request = {"contents": contents, "generation_config": {"max_output_tokens": 20}}
lines = [{"key": f"line-{nth}", "request": request} for nth in range(2)]
lines = "\n".join(json.dumps(line) for line in lines).encode()
# The content type of Google's own example.
file = client.files.upload(file=io.BytesIO(lines), config={"mime_type": "jsonl"})
of_file = ended(client.batches.create(model=model, src=file.name))
output = client.files.download(file=of_file.dest.file_name)
assert output == client.files.download(file=client.files.get(name=of_file.dest.file_name))
results = [json.loads(line) for line in output.splitlines()]

vectors = []
if embeds == "embeds":
    embedded = client.batches.create_embeddings(
        model=model, src={"inlined_requests": {"contents": ["one", "two"]}}
    )
    embedded = ended(embedded).dest.inlined_embed_content_responses
    vectors = [len(one.response.embedding.values) for one in embedded]

listed = [one.name for one in client.batches.list(config={"page_size": 1})]
assert {inline.name, of_file.name} <= set(listed), listed
refused = {}
for name, call in [
    ("ended", lambda: client.batches.cancel(name=inline.name)),
    ("gone", lambda: client.batches.get(name=inline.name)),
    ("model", lambda: client.batches.create(model="unknown", src=file.name)),
]:
    try:
        call()
    except errors.ClientError as error:
        refused[name] = error.code
    if name == "ended":
        client.batches.delete(name=inline.name)
json.dump(
    {
        "inline": [one.response.text for one in inline.dest.inlined_responses],
        "metadata": [one.metadata["key"] for one in inline.dest.inlined_responses],
        "file": [text(one["response"]) for one in results],
        "keys": [one["key"] for one in results],
        "vectors": vectors,
        "refused": refused,
    },
    sys.stdout,
)
