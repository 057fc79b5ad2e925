// The OpenAI SDK for JavaScript: each of its calls once, with the usage that it read.
import OpenAI from "openai";

const [base, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: "Say hello." }];
const calls = [];
const note = (name, stream, text, usage) =>
  calls.push({
    name,
    stream,
    text,
    input: usage.prompt_tokens ?? usage.input_tokens,
    output: usage.completion_tokens ?? usage.output_tokens,
  });

const chat = await client.chat.completions.create({ model, messages, max_tokens: 20 });
note("chat", false, chat.choices[0].message.content, chat.usage);

let text = "";
let usage;
for await (const chunk of await client.chat.completions.create({
  model,
  messages,
  max_tokens: 20,
  stream: true,
  stream_options: { include_usage: true },
})) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
note("chat", true, text, usage);

const response = await client.responses.create({ model, input: "Say hello.", max_output_tokens: 20 });
note("responses", false, response.output_text, response.usage);

text = "";
for await (const event of await client.responses.create({
  model,
  input: "Say hello.",
  max_output_tokens: 20,
  stream: true,
})) {
  if (event.type === "response.output_text.delta") text += event.delta;
  if (event.type === "response.completed") usage = event.response.usage;
}
note("responses", true, text, usage);

const embedding = await client.embeddings.create({ model, input: ["one", "two"] });
calls.push({
  name: "embeddings",
  stream: false,
  text: embedding.data[1].embedding.length,
  input: embedding.usage.prompt_tokens,
});

const refusals = {};
for (const [name, call] of Object.entries({
  chat: () => client.chat.completions.create({ model: "unknown", messages }),
  responses: () => client.responses.create({ model: "unknown", input: "hello" }),
})) {
  try {
    await call();
  } catch (error) {
    refusals[name] = { class: error.constructor.name, message: error.message };
  }
}
const models = [];
for await (const entry of client.models.list()) models.push(entry.id);
console.log(JSON.stringify({ calls, models, refusals }));
