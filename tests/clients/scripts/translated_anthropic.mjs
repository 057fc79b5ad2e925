// The Anthropic SDK for JavaScript with models that no provider has as messages: whole and streamed, a tool to its
// end, and JSON that matches a schema.
import Anthropic from "@anthropic-ai/sdk";
import { ABOUT, ASK, HELLO, LONG, PARAMETERS, SCHEMA, SHORT, SYSTEM, TOOL, WHERE } from "./translated.mjs";
import { base, end, models, run, tell } from "./translated.mjs";

const client = new Anthropic({ baseURL: base, apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const system = [{ type: "text", text: SYSTEM, cache_control: { type: "ephemeral" } }];

// One message, as the SDK puts it together.
async function ask(model, kind, messages, more) {
  const given = { model, system, messages, metadata: { user_id: "someone" }, ...more };
  const said = kind.endsWith("stream")
    ? await client.messages.stream(given).finalMessage()
    : await client.messages.create(given);
  const text = said.content.map((block) => (block.type === "text" ? block.text : "")).join("");
  const call = said.content.find((block) => block.type === "tool_use");
  const { cache_read_input_tokens: cached, cache_creation_input_tokens: written } = said.usage;
  tell("anthropic_messages", kind, model, {
    text,
    stop: said.stop_reason,
    tool: call ? { name: call.name, input: call.input } : null,
    parsed: kind === "json" ? JSON.parse(text) : null,
    // What a cache took or served is counted apart from the rest.
    input: said.usage.input_tokens + cached + written,
    output: said.usage.output_tokens,
    cached,
  });
  return said;
}

for (const { model, calls, tools: kinds, structured } of models("anthropic_messages")) {
  const hello = [{ role: "user", content: HELLO }];
  const tools = [{ name: TOOL, description: ABOUT, input_schema: PARAMETERS }];
  await ask(model, "whole", hello, { max_tokens: SHORT });
  await ask(model, "stream", hello, { max_tokens: SHORT });
  for (const kind of kinds) {
    const turns = [{ role: "user", content: ASK }];
    const tool_choice = { type: calls === "forced" ? "any" : "auto" };
    const forced = { tools, tool_choice, max_tokens: LONG };
    const said = await ask(model, kind, turns, forced);
    const call = said.content.find((block) => block.type === "tool_use");
    const content = [{ type: "tool_result", tool_use_id: call.id, content: run(call.input) }];
    turns.push({ role: "assistant", content: said.content }, { role: "user", content });
    await ask(model, kind.replace("tool", "result"), turns, { tools, max_tokens: SHORT });
  }
  if (structured) {
    const output_config = { format: { type: "json_schema", schema: SCHEMA } };
    await ask(model, "json", [{ role: "user", content: WHERE }], { output_config, max_tokens: LONG });
  }
}
end();
