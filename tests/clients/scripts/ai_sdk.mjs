// Vercel's AI SDK: one whole answer and one stream through each of its providers.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

const [base, model] = process.argv.slice(2);
const apiKey = "unused";
const openai = createOpenAI({ baseURL: `${base}/v1`, apiKey });
const models = {
  responses: openai(model),
  chat: openai.chat(model),
  compatible: createOpenAICompatible({
    name: "gateway",
    baseURL: `${base}/v1`,
    apiKey,
    includeUsage: true,
  })(model),
  messages: createAnthropic({ baseURL: `${base}/v1`, apiKey })(model),
  generate: createGoogleGenerativeAI({ baseURL: `${base}/v1beta`, apiKey })(model),
};
const calls = [];
for (const [name, chosen] of Object.entries(models)) {
  const ask = { model: chosen, prompt: "Say hello.", maxOutputTokens: 20, maxRetries: 0 };
  const note = (stream, text, usage) =>
    calls.push({ name, stream, text, input: usage.inputTokens, output: usage.outputTokens });
  const whole = await generateText(ask);
  note(false, whole.text, whole.usage);
  let failed;
  const streamed = streamText({ ...ask, onError: ({ error }) => (failed = error) });
  const text = await streamed.text;
  if (failed) throw failed;
  note(true, text, await streamed.usage);
}
const refusals = {};
try {
  await generateText({ model: openai("unknown"), prompt: "hello", maxRetries: 0 });
} catch (error) {
  refusals.responses = { class: error.name, code: error.statusCode, message: error.message };
}
console.log(JSON.stringify({ calls, refusals }));
