"""The OpenAI SDK for Python with models that no provider has in its formats: chat and responses, whole and
streamed, a tool to its end, and JSON that matches a schema."""

import json
from typing import Literal

import openai
from pydantic import BaseModel

from translated import ABOUT, ASK, HELLO, LONG, PARAMETERS, SHORT, SYSTEM, TOOL, WHERE
from translated import base, end, models, note, run

client = openai.OpenAI(base_url=f"{base}/v1", api_key="unused", max_retries=0, timeout=60)


class City(BaseModel):
    """What the response has to be."""

    city: Literal["Rome", "Oslo"]


def chat(model, kind, ask, turns, **more):
    """One chat, as the SDK puts it together."""
    system = {"role": "system", "content": SYSTEM}
    given = dict(model=model, messages=[system, *turns], seed=7, user="someone", **more)
    stream = kind.endswith("stream")
    if stream:
        options = {"include_usage": True}
        with client.chat.completions.stream(**given, stream_options=options) as events:
            for _ in events:
                pass
            # Its final form is an error where the length ends it.
            said = events.current_completion_snapshot
    else:
        said = getattr(client.chat.completions, ask)(**given)
    choice, usage = said.choices[0], said.usage
    message = choice.message
    call = message.tool_calls[0] if message.tool_calls else None
    note(
        "openai_chat",
        kind,
        model,
        stream=stream,
        text=message.content or "",
        stop=choice.finish_reason,
        tool=call and {"name": call.function.name, "input": json.loads(call.function.arguments)},
        parsed=message.parsed.model_dump() if ask == "parse" else None,
        input=usage.prompt_tokens,
        output=usage.completion_tokens,
        cached=usage.prompt_tokens_details.cached_tokens,
        reasoning=usage.completion_tokens_details.reasoning_tokens,
    )
    return message


def chats(model, calls, structured):
    """All chats with a model."""
    hello = [{"role": "user", "content": HELLO}]
    tool = {"name": TOOL, "description": ABOUT, "parameters": PARAMETERS}
    tools = [{"type": "function", "function": tool}]
    chat(model, "whole", "create", hello, max_tokens=SHORT)
    chat(model, "stream", "create", hello, max_tokens=SHORT)
    for kind in ["tool", "tool_stream"] if calls else []:
        turns = [{"role": "user", "content": ASK}]
        choice = "required" if calls == "forced" else "auto"
        forced = dict(tool_choice=choice, max_completion_tokens=LONG)
        message = chat(model, kind, "create", turns, tools=tools, **forced)
        call = message.tool_calls[0]
        result = run(json.loads(call.function.arguments))
        turns += [
            message.to_dict(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": result},
        ]
        kind = kind.replace("tool", "result")
        chat(model, kind, "create", turns, tools=tools, max_completion_tokens=SHORT)
    if structured:
        where = [{"role": "user", "content": WHERE}]
        chat(model, "json", "parse", where, response_format=City, max_tokens=LONG)


def respond(model, kind, ask, turns, **more):
    """One response, as the SDK puts it together."""
    given = dict(
        model=model,
        input=turns,
        instructions=SYSTEM,
        metadata={"team": "red"},
        safety_identifier="someone",
        store=False,
        include=["reasoning.encrypted_content"],
        **more,
    )
    stream = kind.endswith("stream")
    if stream:
        # The SDK's own final response is an error where the length ends it.
        ends = ["response.completed", "response.incomplete"]
        with client.responses.stream(**given) as events:
            said = [event.response for event in events if event.type in ends][-1]
    else:
        said = getattr(client.responses, ask)(**given)
    call = next((item for item in said.output if item.type == "function_call"), None)
    note(
        "openai_responses",
        kind,
        model,
        stream=stream,
        text=said.output_text,
        stop=said.status,
        tool=call and {"name": call.name, "input": json.loads(call.arguments)},
        parsed=said.output_parsed.model_dump() if ask == "parse" else None,
        input=said.usage.input_tokens,
        output=said.usage.output_tokens,
        cached=said.usage.input_tokens_details.cached_tokens,
        reasoning=said.usage.output_tokens_details.reasoning_tokens,
    )
    return said


def responses(model, calls, structured):
    """All responses of a model."""
    tool = {"name": TOOL, "description": ABOUT, "parameters": PARAMETERS, "strict": False}
    tools = [{"type": "function", **tool}]
    respond(model, "whole", "create", HELLO, max_output_tokens=SHORT)
    respond(model, "stream", "create", HELLO, max_output_tokens=SHORT)
    for kind in ["tool", "tool_stream"] if calls else []:
        turns = [{"role": "user", "content": ASK}]
        choice = "required" if calls == "forced" else "auto"
        forced = dict(tool_choice=choice, max_output_tokens=LONG)
        said = respond(model, kind, "create", turns, tools=tools, **forced)
        call = next(item for item in said.output if item.type == "function_call")
        result = run(json.loads(call.arguments))
        turns += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in said.output]
        turns.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
        kind = kind.replace("tool", "result")
        respond(model, kind, "create", turns, tools=tools, max_output_tokens=SHORT)
    if structured:
        respond(model, "json", "parse", WHERE, text_format=City, max_output_tokens=LONG)


for name, calls, structured in models("openai_chat"):
    chats(name, calls, structured)
for name, calls, structured in models("openai_responses"):
    responses(name, calls, structured)
end()
