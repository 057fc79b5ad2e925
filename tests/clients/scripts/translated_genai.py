"""The Google GenAI SDK for Python with models that no provider has in Gemini's format: whole and streamed, a
tool to its end, and JSON that matches a schema."""

from google import genai
from google.genai import types

from translated import ABOUT, ASK, HELLO, LONG, PARAMETERS, SCHEMA, SHORT, SYSTEM, TOOL, WHERE
from translated import base, end, models, note, run

client = genai.Client(api_key="unused", http_options=types.HttpOptions(base_url=base))
THOUGHTS = types.ThinkingConfig(include_thoughts=True)
SAFETY = types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="OFF")


def ask(model, kind, turns, **more):
    """One response; of a stream, the parts that its pieces bring."""
    config = types.GenerateContentConfig(
        system_instruction=SYSTEM,
        seed=7,
        top_k=40,
        safety_settings=[SAFETY],
        thinking_config=THOUGHTS,
        **more,
    )
    given = dict(model=model, contents=turns, config=config)
    stream = kind.endswith("stream")
    if stream:
        pieces = list(client.models.generate_content_stream(**given))
    else:
        pieces = [client.models.generate_content(**given)]
    said = [piece.candidates[0] for piece in pieces if piece.candidates]
    parts = [part for one in said for part in (one.content and one.content.parts) or []]
    call = next((part.function_call for part in parts if part.function_call), None)
    usage = [piece.usage_metadata for piece in pieces if piece.usage_metadata][-1]
    thoughts = usage.thoughts_token_count or 0
    note(
        "gemini_generate_content",
        kind,
        model,
        stream=stream,
        text="".join(part.text for part in parts if part.text and not part.thought),
        stop=said[-1].finish_reason.value,
        tool=call and {"name": call.name, "input": call.args},
        parsed=pieces[0].parsed if kind == "json" else None,
        input=usage.prompt_token_count,
        # Thoughts are counted apart from what is said.
        output=usage.candidates_token_count + thoughts,
        cached=usage.cached_content_token_count,
        reasoning=thoughts,
    )
    return types.Content(role="model", parts=parts), call


def generate(model, calls, structured):
    """All responses of a model."""
    declared = types.FunctionDeclaration(
        name=TOOL, description=ABOUT, parameters_json_schema=PARAMETERS
    )
    tools = [types.Tool(function_declarations=[declared])]

    def choice(mode):
        calling = types.FunctionCallingConfig(mode=mode)
        return types.ToolConfig(function_calling_config=calling)

    ask(model, "whole", HELLO, max_output_tokens=SHORT)
    ask(model, "stream", HELLO, max_output_tokens=SHORT)
    for kind in ["tool", "tool_stream"] if calls else []:
        turns = [types.Content(role="user", parts=[types.Part(text=ASK)])]
        mode = "ANY" if calls == "forced" else "AUTO"
        forced = dict(tool_config=choice(mode), max_output_tokens=LONG)
        said, call = ask(model, kind, turns, tools=tools, **forced)
        result = types.FunctionResponse(id=call.id, name=call.name, response={"output": run(call.args)})
        turns += [said, types.Content(role="user", parts=[types.Part(function_response=result)])]
        free = dict(tool_config=choice("AUTO"), max_output_tokens=SHORT)
        ask(model, kind.replace("tool", "result"), turns, tools=tools, **free)
    if structured:
        form = dict(response_mime_type="application/json", response_json_schema=SCHEMA)
        ask(model, "json", WHERE, max_output_tokens=LONG, **form)


for name, calls, structured in models("gemini_generate_content"):
    generate(name, calls, structured)
end()
