// The Anthropic SDK for JavaScript: each of its calls once, with the usage that it read.
import Anthropic from "@anthropic-ai/sdk";

const [base, model] = process.argv.slice(2);
const client = new Anthropic({ baseURL: base, apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: "Say hello." }];
const calls = [];
const said = (message) =>
  message.content.map((block) => (block.type === "text" ? block.text : "")).join("");
const note = (message, stream) =>
  calls.push({
    name: "messages",
    stream,
    text: said(message),
    // What a cache took or served is counted apart from the rest.
    input:
      message.usage.input_tokens +
      (message.usage.cache_read_input_tokens ?? 0) +
      (message.usage.cache_creation_input_tokens ?? 0),
    output: message.usage.output_tokens,
  });

note(await client.messages.create({ model, max_tokens: 20, messages }), false);
note(await client.messages.stream({ model, max_tokens: 20, messages }).finalMessage(), true);
const count = await client.messages.countTokens({ model, messages });
calls.push({ name: "count_tokens", stream: false, text: count.input_tokens });

const refusals = {};
try {
  await client.messages.create({ model: "unknown", max_tokens: 5, messages });
} catch (error) {
  refusals.messages = { class: error.constructor.name, message: error.message };
}
console.log(JSON.stringify({ calls, refusals }));
