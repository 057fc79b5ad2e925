"""The SDKs of OpenAI, Anthropic and Google for Python: batches, from their requests to their results, and files."""

import io
import json
import sys
import time

import anthropic
import openai
from google import genai

base, model = sys.argv[1:3]
messages = [{"role": "user", "content": "Say hello."}]


def ended(look, running):
    """Looks until a batch has ended."""
    for _ in range(300):
        batch = look()
        if not running(batch):
            return batch
        time.sleep(0.1)
    raise TimeoutError(batch)


client = openai.OpenAI(base_url=f"{base}/v1", api_key="unused", max_retries=0, timeout=60)
lines = [
    {
        "custom_id": f"line-{nth}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": model, "messages": messages, "max_tokens": 20},
    }
    for nth in range(2)
]
text = "\n".join(json.dumps(line) for line in lines).encode()
file = client.files.create(file=("lines.jsonl", text), purpose="batch")
batch = client.batches.create(
    input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
)
batch = ended(
    lambda: client.batches.retrieve(batch.id),
    lambda one: one.status in ("validating", "in_progress", "finalizing"),
)
output = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
openai_said = [line["response"]["body"]["choices"][0]["message"]["content"] for line in output]
names = sorted(one.id for one in client.files.list())
known = sorted([file.id, batch.output_file_id])
assert set(known) <= set(names), (known, names)
assert batch.id in [one.id for one in client.batches.list()]
assert client.files.retrieve(file.id).filename == "lines.jsonl"
assert client.files.delete(file.id).deleted
try:
    client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    gone = None
except openai.NotFoundError as error:
    gone = error.status_code

picture = client.files.create(file=("a.png", b"PNG"), purpose="vision")
assert picture.id in [one.id for one in client.files.list(purpose="vision")]

client = anthropic.Anthropic(base_url=base, api_key="unused", max_retries=0, timeout=60)
note = client.beta.files.upload(file=("note.txt", b"a note", "text/plain"))
assert (note.mime_type, note.size_bytes, note.filename) == ("text/plain", 6, "note.txt")
assert note.id in [one.id for one in client.beta.files.list()]
assert client.beta.files.retrieve_metadata(note.id) == note
assert client.beta.files.download(note.id).read() == b"a note"
asked = client.beta.messages.create(
    model=model,
    max_tokens=20,
    betas=["files-api-2025-04-14"],
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "document", "source": {"type": "file", "file_id": note.id}},
                {"type": "text", "text": "Say hello."},
            ],
        }
    ],
)
assert asked.content[0].text
assert client.beta.files.delete(note.id).id == note.id
params = {"model": model, "max_tokens": 20, "messages": messages}

google = genai.Client(api_key="unused", http_options={"base_url": base})
content = io.BytesIO(b"x" * (9 << 20))
long = google.files.upload(file=content, config={"mime_type": "text/plain", "display_name": "long"})
assert (long.size_bytes, long.mime_type, long.display_name) == (9 << 20, "text/plain", "long")
assert google.files.get(name=long.name).uri == long.uri
assert long.name in [one.name for one in google.files.list()]
google.files.delete(name=long.name)

messages_batch = client.messages.batches.create(
    requests=[{"custom_id": f"request-{nth}", "params": params} for nth in range(2)]
)
messages_batch = ended(
    lambda: client.messages.batches.retrieve(messages_batch.id),
    lambda one: one.processing_status != "ended",
)
results = list(client.messages.batches.results(messages_batch.id))
anthropic_said = [one.result.message.content[0].text for one in results]
assert messages_batch.id in [one.id for one in client.messages.batches.list()]
assert client.messages.batches.delete(messages_batch.id).id == messages_batch.id
json.dump(
    {
        "status": batch.status,
        "completed": batch.request_counts.completed,
        "openai": openai_said,
        "gone": gone,
        "succeeded": messages_batch.request_counts.succeeded,
        "anthropic": anthropic_said,
    },
    sys.stdout,
)
