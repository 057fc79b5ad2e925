"""The OpenAI SDK for Python: responses in the background, and by their id."""

import json
import sys
import time

import openai

base, model = sys.argv[1:3]
client = openai.OpenAI(base_url=f"{base}/v1", api_key="unused", max_retries=0, timeout=60)


def begin():
    return client.responses.create(model=model, input="Say hello.", background=True)


seen = {}
response = begin()
seen["begun"] = response.status
# The first question finds it running, and so does the gateway's own.
for _ in range(40):
    response = client.responses.retrieve(response.id)
    if response.status not in ("queued", "in_progress"):
        break
    time.sleep(0.25)
seen["ended"] = response.status
seen["text"] = response.output_text
seen["usage"] = response.usage.total_tokens
seen["items"] = [item.id for item in client.responses.input_items.list(response.id)]

cancelled = begin()
seen["cancelled"] = client.responses.cancel(cancelled.id).status

# It can be deleted once its end is noted.
for _ in range(60):
    try:
        client.responses.delete(response.id)
        break
    except openai.ConflictError:
        time.sleep(0.25)
try:
    client.responses.retrieve(response.id)
except openai.NotFoundError as error:
    seen["deleted"] = str(error)

direct = openai.OpenAI(
    base_url=f"{base}/direct/wire/v1", api_key="unused", max_retries=0, timeout=60
)
seen["direct"] = [entry.id for entry in direct.models.list()]

json.dump(seen, sys.stdout)
