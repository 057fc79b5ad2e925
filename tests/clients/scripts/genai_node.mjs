// The Google GenAI SDK for JavaScript: each of its calls once, with the usage that it read.
import { GoogleGenAI } from "@google/genai";

const [base, model] = process.argv.slice(2);
const client = new GoogleGenAI({ apiKey: "unused", httpOptions: { baseUrl: base } });
const calls = [];
const note = (usage, text, stream) =>
  calls.push({
    name: "generate",
    stream,
    text,
    input: usage.promptTokenCount,
    // Thoughts are counted apart from what is said.
    output: usage.candidatesTokenCount + (usage.thoughtsTokenCount ?? 0),
  });

const whole = await client.models.generateContent({ model, contents: "Say hello." });
note(whole.usageMetadata, whole.text, false);
let text = "";
let usage;
for await (const chunk of await client.models.generateContentStream({ model, contents: "Say hello." })) {
  text += chunk.text ?? "";
  usage = chunk.usageMetadata ?? usage;
}
note(usage, text, true);
const count = await client.models.countTokens({ model, contents: "Say hello." });
calls.push({ name: "count", stream: false, text: count.totalTokens });
const embedded = await client.models.embedContent({ model, contents: ["one", "two"] });
calls.push({ name: "embed", stream: false, text: embedded.embeddings.map((each) => each.values.length) });

const refusals = {};
try {
  await client.models.generateContent({ model: "unknown", contents: "hello" });
} catch (error) {
  refusals.generate = { class: error.constructor.name, code: error.status, message: error.message };
}
console.log(JSON.stringify({ calls, refusals }));
