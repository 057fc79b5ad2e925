"""The Google GenAI SDK for Python in a live session: a turn, and a refusal."""

import asyncio
import json
import sys

from google import genai
from google.genai import errors, types

base, model = sys.argv[1:3]


def at(url):
    """A client of the gateway; the SDK connects over TLS, which the gateway of the test has not."""
    client = genai.Client(api_key="unused", http_options=types.HttpOptions(base_url=url))
    api = client._api_client  # pylint: disable=protected-access
    api._websocket_base_url = lambda *_: url.replace("http://", "ws://")
    api._websocket_ssl_ctx = {}
    return client


async def main():
    """Opens a session, has one turn, and tries a model that there isn't."""
    client = at(base)
    config = {"response_modalities": ["TEXT"]}
    text, usage = "", None
    async with client.aio.live.connect(model=model, config=config) as session:
        turns = {"role": "user", "parts": [{"text": "Say hello."}]}
        await session.send_client_content(turns=turns, turn_complete=True)
        async for message in session.receive():
            text += message.text or ""
            usage = message.usage_metadata or usage
    try:
        async with client.aio.live.connect(model="unknown", config=config):
            raise RuntimeError("it was not refused")
    except errors.APIError as error:
        refused = {"code": error.code, "message": str(error)}
    output = usage.response_token_count + usage.thoughts_token_count
    counts = {"text": text, "input": usage.prompt_token_count, "output": output}
    json.dump({**counts, "told": "", "refused": refused}, sys.stdout)


asyncio.run(main())
