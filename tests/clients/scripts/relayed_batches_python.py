"""The SDKs of OpenAI and Anthropic for Python: a batch each that the gateway has the models' vendors run."""

import json
import sys
import time

import anthropic
import openai

base, chat_model, message_model = sys.argv[1:4]
texts = ["one", "two", "bad"]


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
        "custom_id": text,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": chat_model, "messages": [{"role": "user", "content": text}]},
    }
    for text in texts
]
text = "\n".join(json.dumps(line) for line in lines).encode()
file = client.files.create(file=("lines.jsonl", text), purpose="batch")
made = client.batches.create(
    input_file_id=file.id,
    endpoint="/v1/chat/completions",
    completion_window="24h",
    metadata={"for": "a test"},
)
batch = ended(
    lambda: client.batches.retrieve(made.id),
    lambda one: one.status in ("validating", "in_progress", "finalizing"),
)
assert batch.metadata == {"for": "a test"}, batch
openai_said = {}
for name in (batch.output_file_id, batch.error_file_id):
    for line in map(json.loads, client.files.content(name).text.splitlines()):
        body = line["response"]["body"]
        if line["response"]["status_code"] == 200:
            openai_said[line["custom_id"]] = body["choices"][0]["message"]["content"]
        else:
            openai_said[line["custom_id"]] = body["error"]["message"]

client = anthropic.Anthropic(base_url=base, api_key="unused", max_retries=0, timeout=60)
requests = [
    {
        "custom_id": text,
        "params": {
            "model": message_model,
            "max_tokens": 20,
            "messages": [{"role": "user", "content": text}],
        },
    }
    for text in texts
]
messages = client.messages.batches.create(requests=requests)
messages = ended(
    lambda: client.messages.batches.retrieve(messages.id),
    lambda one: one.processing_status != "ended",
)
anthropic_said = {}
for one in client.messages.batches.results(messages.id):
    if one.result.type == "succeeded":
        anthropic_said[one.custom_id] = one.result.message.content[0].text
    else:
        anthropic_said[one.custom_id] = one.result.error.error.message
print(
    json.dumps(
        {
            "status": batch.status,
            "ids": [batch.id, messages.id],
            "openai": openai_said,
            "anthropic": anthropic_said,
        }
    )
)
