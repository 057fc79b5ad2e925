"""boto3, the AWS SDK for Python: each of Bedrock's operations once, with the usage that it read."""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

base, model, closed = sys.argv[1:4]
calls = []


def at(url):
    """A client of the gateway at an address. It signs its requests, which nobody checks."""
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=f"{url}/bedrock",
        region_name="eu-west-1",
        aws_access_key_id="unused",
        aws_secret_access_key="unused",
        config=Config(retries={"total_max_attempts": 1}),
    )


client, refused = at(base), at(closed)
messages = [{"role": "user", "content": [{"text": "Say hello."}]}]


def converse(usage, text, stream):
    """Remembers a call; what a cache served or took is counted apart."""
    read = usage["inputTokens"] + usage["cacheReadInputTokens"] + usage["cacheWriteInputTokens"]
    calls.append(
        {
            "name": "converse",
            "stream": stream,
            "text": text,
            "input": read,
            "output": usage["outputTokens"],
        }
    )


whole = client.converse(modelId=model, messages=messages)
converse(whole["usage"], whole["output"]["message"]["content"][0]["text"], False)
text, usage = "", None
for event in client.converse_stream(modelId=model, messages=messages)["stream"]:
    text += event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
    usage = event.get("metadata", {}).get("usage") or usage
converse(usage, text, True)

body = json.dumps(
    {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": "Say hello."}],
    }
)


def invoke(usage, text, stream):
    """Remembers a call in the words of Anthropic."""
    read = usage["input_tokens"] + usage["cache_read_input_tokens"]
    calls.append(
        {
            "name": "invoke",
            "stream": stream,
            "text": text,
            "input": read + usage["cache_creation_input_tokens"],
            "output": usage["output_tokens"],
        }
    )


whole = json.loads(client.invoke_model(modelId=model, body=body)["body"].read())
invoke(whole["usage"], whole["content"][0]["text"], False)
text, usage = "", {}
for event in client.invoke_model_with_response_stream(modelId=model, body=body)["body"]:
    inner = json.loads(event["chunk"]["bytes"])
    text += inner.get("delta", {}).get("text", "")
    usage |= inner.get("message", {}).get("usage", {}) | inner.get("usage", {})
invoke(usage, text, True)

refusals = {}
for name, call in {
    "converse": lambda: client.converse(modelId="unknown", messages=messages),
    "invoke": lambda: client.invoke_model(modelId="unknown", body=body),
    # A gateway that grants nothing.
    "closed": lambda: refused.converse(modelId=model, messages=messages),
}.items():
    try:
        call()
    except ClientError as error:
        refusals[name] = {
            "class": type(error).__name__,
            "code": error.response["ResponseMetadata"]["HTTPStatusCode"],
            "message": error.response["Error"]["Message"],
        }
json.dump({"calls": calls, "refusals": refusals}, sys.stdout)
