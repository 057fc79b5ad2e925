"""boto3, the AWS SDK for Python, with models that no provider has in Bedrock's format: whole and streamed, a
tool to its end, and JSON that matches a schema."""

import json

import boto3
from botocore.config import Config

from translated import ABOUT, ASK, HELLO, LONG, PARAMETERS, SCHEMA, SHORT, SYSTEM, TOOL, WHERE
from translated import base, end, models, note, run

client = boto3.client(
    "bedrock-runtime",
    endpoint_url=f"{base}/bedrock",
    region_name="eu-west-1",
    aws_access_key_id="unused",
    aws_secret_access_key="unused",
    config=Config(retries={"total_max_attempts": 1}),
)
MARKED = [{"text": SYSTEM}, {"cachePoint": {"type": "default"}}]


def streamed(given):
    """What the events of a stream come to, in the shape of a whole response."""
    blocks, stop, usage = {}, None, None
    for event in client.converse_stream(**given)["stream"]:
        if "contentBlockStart" in event:
            start = event["contentBlockStart"]
            blocks[start["contentBlockIndex"]] = {"toolUse": {**start["start"]["toolUse"], "input": ""}}
        elif "contentBlockDelta" in event:
            at, delta = event["contentBlockDelta"]["contentBlockIndex"], event["contentBlockDelta"]["delta"]
            block = blocks.setdefault(at, {})
            if "text" in delta:
                block["text"] = block.get("text", "") + delta["text"]
            elif "toolUse" in delta:
                block["toolUse"]["input"] += delta["toolUse"]["input"]
            else:
                kept = block.setdefault("reasoningContent", {})
                if "redactedContent" in delta["reasoningContent"]:
                    kept |= delta["reasoningContent"]
                else:
                    kept = kept.setdefault("reasoningText", {"text": ""})
                    for key, text in delta["reasoningContent"].items():
                        kept[key] = kept.get(key, "") + text
        stop = event.get("messageStop", {}).get("stopReason") or stop
        usage = event.get("metadata", {}).get("usage") or usage
    content = [blocks[at] for at in sorted(blocks)]
    for block in content:
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
    message = {"role": "assistant", "content": content}
    return {"output": {"message": message}, "stopReason": stop, "usage": usage}


def ask(model, kind, turns, most, **more):
    """One response."""
    given = dict(
        modelId=model,
        system=MARKED,
        messages=turns,
        inferenceConfig={"maxTokens": most},
        requestMetadata={"team": "red"},
        **more,
    )
    stream = kind.endswith("stream")
    said = streamed(given) if stream else client.converse(**given)
    message, usage = said["output"]["message"], said["usage"]
    text = "".join(block.get("text", "") for block in message["content"])
    call = next((block["toolUse"] for block in message["content"] if "toolUse" in block), None)
    cached, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    note(
        "bedrock_converse",
        kind,
        model,
        stream=stream,
        text=text,
        stop=said["stopReason"],
        tool=call and {"name": call["name"], "input": call["input"]},
        parsed=json.loads(text) if kind == "json" else None,
        # What a cache served or took is counted apart.
        input=usage["inputTokens"] + cached + written,
        output=usage["outputTokens"],
        cached=cached,
    )
    return message, call


def converse(model, calls, structured):
    """All responses of a model."""
    hello = [{"role": "user", "content": [{"text": HELLO}]}]
    tool = {"name": TOOL, "description": ABOUT, "inputSchema": {"json": PARAMETERS}}
    ask(model, "whole", hello, SHORT)
    ask(model, "stream", hello, SHORT)
    for kind in ["tool", "tool_stream"] if calls else []:
        turns = [{"role": "user", "content": [{"text": ASK}]}]
        tools = [{"toolSpec": tool}]
        choice = "any" if calls == "forced" else "auto"
        forced = {"tools": tools, "toolChoice": {choice: {}}}
        message, call = ask(model, kind, turns, LONG, toolConfig=forced)
        content = [{"text": run(call["input"])}]
        result = {"toolResult": {"toolUseId": call["toolUseId"], "content": content}}
        turns += [message, {"role": "user", "content": [result]}]
        ask(model, kind.replace("tool", "result"), turns, SHORT, toolConfig={"tools": tools})
    if structured:
        where = [{"role": "user", "content": [{"text": WHERE}]}]
        schema = {"jsonSchema": {"schema": json.dumps(SCHEMA), "name": "city"}}
        form = {"textFormat": {"type": "json_schema", "structure": schema}}
        ask(model, "json", where, LONG, outputConfig=form)


for name, calls, structured in models("bedrock_converse"):
    converse(name, calls, structured)
end()
