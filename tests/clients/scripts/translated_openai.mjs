// The OpenAI SDK for JavaScript with models that no provider has in its formats: chat and responses, whole and
// streamed, a tool to its end, and JSON that matches a schema.
import OpenAI from "openai";
import { ABOUT, ASK, HELLO, LONG, PARAMETERS, SCHEMA, SHORT, SYSTEM, TOOL, WHERE } from "./translated.mjs";
import { base, end, models, run, tell } from "./translated.mjs";

const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "unused", maxRetries: 0, timeout: 60_000 });

// One chat, as the SDK puts it together.
async function chat(model, kind, turns, more) {
  const messages = [{ role: "system", content: SYSTEM }, ...turns];
  const given = { model, messages, seed: 7, user: "someone", ...more };
  const api = client.chat.completions;
  const said = kind.endsWith("stream")
    ? await api.stream({ ...given, stream_options: { include_usage: true } }).finalChatCompletion()
    : await api[kind === "json" ? "parse" : "create"](given);
  const { message, finish_reason: stop } = said.choices[0];
  const call = message.tool_calls?.[0]?.function;
  tell("openai_chat", kind, model, {
    text: message.content ?? "",
    stop,
    tool: call ? { name: call.name, input: JSON.parse(call.arguments) } : null,
    parsed: message.parsed ?? null,
    input: said.usage.prompt_tokens,
    output: said.usage.completion_tokens,
    cached: said.usage.prompt_tokens_details.cached_tokens,
    reasoning: said.usage.completion_tokens_details.reasoning_tokens,
  });
  return message;
}

async function chats({ model, calls, tools: kinds, structured }) {
  const hello = [{ role: "user", content: HELLO }];
  const tool = { name: TOOL, description: ABOUT, parameters: PARAMETERS };
  const tools = [{ type: "function", function: tool }];
  await chat(model, "whole", hello, { max_tokens: SHORT });
  await chat(model, "stream", hello, { max_tokens: SHORT });
  for (const kind of kinds) {
    const turns = [{ role: "user", content: ASK }];
    const tool_choice = calls === "forced" ? "required" : "auto";
    const forced = { tools, tool_choice, max_completion_tokens: LONG };
    const message = await chat(model, kind, turns, forced);
    const call = message.tool_calls[0];
    const content = run(JSON.parse(call.function.arguments));
    turns.push(message, { role: "tool", tool_call_id: call.id, content });
    await chat(model, kind.replace("tool", "result"), turns, { tools, max_completion_tokens: SHORT });
  }
  if (structured) {
    const where = [{ role: "user", content: WHERE }];
    const json_schema = { name: "city", schema: SCHEMA, strict: true };
    const response_format = { type: "json_schema", json_schema };
    await chat(model, "json", where, { response_format, max_tokens: LONG });
  }
}

// One response, as the SDK puts it together.
async function respond(model, kind, input, more) {
  const include = ["reasoning.encrypted_content"];
  const about = { metadata: { team: "red" }, safety_identifier: "someone", store: false, include };
  const given = { model, input, instructions: SYSTEM, ...about, ...more };
  const said = kind.endsWith("stream")
    ? await client.responses.stream(given).finalResponse()
    : await client.responses[kind === "json" ? "parse" : "create"](given);
  const call = said.output.find((item) => item.type === "function_call");
  tell("openai_responses", kind, model, {
    text: said.output_text,
    stop: said.status,
    tool: call ? { name: call.name, input: JSON.parse(call.arguments) } : null,
    parsed: said.output_parsed ?? null,
    input: said.usage.input_tokens,
    output: said.usage.output_tokens,
    cached: said.usage.input_tokens_details.cached_tokens,
    reasoning: said.usage.output_tokens_details.reasoning_tokens,
  });
  return said;
}

async function responses({ model, calls, tools: kinds, structured }) {
  const tools = [{ type: "function", name: TOOL, description: ABOUT, parameters: PARAMETERS, strict: false }];
  await respond(model, "whole", HELLO, { max_output_tokens: SHORT });
  await respond(model, "stream", HELLO, { max_output_tokens: SHORT });
  for (const kind of kinds) {
    const turns = [{ role: "user", content: ASK }];
    const tool_choice = calls === "forced" ? "required" : "auto";
    const forced = { tools, tool_choice, max_output_tokens: LONG };
    const said = await respond(model, kind, turns, forced);
    const call = said.output.find((item) => item.type === "function_call");
    const output = run(JSON.parse(call.arguments));
    // What the SDK adds for its caller isn't a part of the API.
    turns.push(...said.output.map(({ parsed_arguments, ...item }) => item));
    turns.push({ type: "function_call_output", call_id: call.call_id, output });
    await respond(model, kind.replace("tool", "result"), turns, { tools, max_output_tokens: SHORT });
  }
  if (structured) {
    const format = { type: "json_schema", name: "city", schema: SCHEMA, strict: true };
    await respond(model, "json", WHERE, { text: { format }, max_output_tokens: LONG });
  }
}

for (const target of models("openai_chat")) await chats(target);
for (const target of models("openai_responses")) await responses(target);
end();
