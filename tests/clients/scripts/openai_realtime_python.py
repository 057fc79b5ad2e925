"""The OpenAI SDK for Python in a realtime session: a turn, and a refusal."""

import asyncio
import json
import sys

import openai
from websockets.exceptions import InvalidStatus

base, model = sys.argv[1:3]


async def main():
    """Opens a session, has one turn, and tries a model that there isn't."""
    client = openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="unused", max_retries=0)
    text, usage = "", None
    async with client.realtime.connect(model=model) as connection:
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        item = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Say hello."}],
        }
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        async for event in connection:
            if event.type == "error":
                raise RuntimeError(event.error.message)
            if event.type == "response.output_text.delta":
                text += event.delta
            if event.type == "response.done":
                usage = event.response.usage
                break
        # A refusal is an event, and the session goes on.
        await connection.session.update(session={"type": "realtime", "model": "unknown"})
        async for event in connection:
            if event.type == "error":
                told = event.error.message
                break
    try:
        async with client.realtime.connect(model="unknown"):
            raise RuntimeError("it was not refused")
    except InvalidStatus as error:
        refused = {"code": error.response.status_code, "message": error.response.body.decode()}
    counts = {"text": text, "input": usage.input_tokens, "output": usage.output_tokens}
    json.dump({**counts, "told": told, "refused": refused}, sys.stdout)


asyncio.run(main())
