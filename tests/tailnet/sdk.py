"""The official SDK, as its documentation says to use it, against the gateway."""

import json
import sys

import openai

client = openai.OpenAI(base_url="http://ai/v1", api_key="unused", max_retries=0, timeout=60)
messages = [{"role": "user", "content": "hello"}]
models = [model.id for model in client.models.list()]
whole = client.chat.completions.create(
    model="tiny", messages=messages, max_tokens=20, seed=1, extra_headers={"x-session-id": "sdk"}
)
streamed = "".join(
    chunk.choices[0].delta.content or ""
    for chunk in client.chat.completions.create(
        model="tiny", messages=messages, max_tokens=20, seed=1, stream=True
    )
    if chunk.choices
)
try:
    client.chat.completions.create(model="unknown", messages=messages)
    refusal = None
except openai.NotFoundError as error:
    refusal = {"code": error.code, "message": error.body["message"]}
json.dump(
    {
        "models": models,
        "said": whole.choices[0].message.content,
        "usage": whole.usage.model_dump(),
        "streamed": streamed,
        "refusal": refusal,
    },
    sys.stdout,
)
