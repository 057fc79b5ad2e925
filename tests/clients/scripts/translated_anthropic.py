"""The Anthropic SDK for Python with models that no provider has as messages: whole and streamed, a tool to
its end, and JSON that matches a schema."""

import json

import anthropic

from translated import ABOUT, ASK, HELLO, LONG, PARAMETERS, SCHEMA, SHORT, SYSTEM, TOOL, WHERE
from translated import base, end, models, note, run

client = anthropic.Anthropic(base_url=base, api_key="unused", max_retries=0, timeout=60)
MARKED = [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}]


def ask(model, kind, turns, **more):
    """One message, as the SDK puts it together."""
    given = dict(model=model, system=MARKED, messages=turns, metadata={"user_id": "someone"}, **more)
    stream = kind.endswith("stream")
    if stream:
        with client.messages.stream(**given) as events:
            for _ in events:
                pass
            said = events.get_final_message()
    else:
        said = client.messages.create(**given)
    text = "".join(block.text for block in said.content if block.type == "text")
    call = next((block for block in said.content if block.type == "tool_use"), None)
    cached, written = said.usage.cache_read_input_tokens, said.usage.cache_creation_input_tokens
    note(
        "anthropic_messages",
        kind,
        model,
        stream=stream,
        text=text,
        stop=said.stop_reason,
        tool=call and {"name": call.name, "input": call.input},
        parsed=json.loads(text) if kind == "json" else None,
        # What a cache took or served is counted apart from the rest.
        input=said.usage.input_tokens + cached + written,
        output=said.usage.output_tokens,
        cached=cached,
    )
    return said


def messages(model, calls, structured):
    """All messages of a model."""
    hello = [{"role": "user", "content": HELLO}]
    tools = [{"name": TOOL, "description": ABOUT, "input_schema": PARAMETERS}]
    ask(model, "whole", hello, max_tokens=SHORT)
    ask(model, "stream", hello, max_tokens=SHORT)
    for kind in ["tool", "tool_stream"] if calls else []:
        turns = [{"role": "user", "content": ASK}]
        choice = {"type": "any" if calls == "forced" else "auto"}
        forced = dict(tool_choice=choice, max_tokens=LONG)
        said = ask(model, kind, turns, tools=tools, **forced)
        call = next(block for block in said.content if block.type == "tool_use")
        result = {"type": "tool_result", "tool_use_id": call.id, "content": run(call.input)}
        turns += [{"role": "assistant", "content": said.content}, {"role": "user", "content": [result]}]
        ask(model, kind.replace("tool", "result"), turns, tools=tools, max_tokens=SHORT)
    if structured:
        where = [{"role": "user", "content": WHERE}]
        form = {"format": {"type": "json_schema", "schema": SCHEMA}}
        ask(model, "json", where, output_config=form, max_tokens=LONG)


for name, calls, structured in models("anthropic_messages"):
    messages(name, calls, structured)
end()
