// The Google GenAI SDK for JavaScript with models that no provider has in Gemini's format: whole and streamed, a tool
// to its end, and JSON that matches a schema.
import { GoogleGenAI } from "@google/genai";
import { ABOUT, ASK, HELLO, LONG, PARAMETERS, SCHEMA, SHORT, SYSTEM, TOOL, WHERE } from "./translated.mjs";
import { base, end, models, run, tell } from "./translated.mjs";

const client = new GoogleGenAI({ apiKey: "unused", httpOptions: { baseUrl: base } });
const thinkingConfig = { includeThoughts: true };
const safetySettings = [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "OFF" }];

// One response; of a stream, the parts that its pieces bring.
async function ask(model, kind, contents, more) {
  const about = { systemInstruction: SYSTEM, seed: 7, topK: 40, safetySettings, thinkingConfig };
  const given = { model, contents, config: { ...about, ...more } };
  const pieces = [];
  if (kind.endsWith("stream")) {
    for await (const piece of await client.models.generateContentStream(given)) pieces.push(piece);
  } else {
    pieces.push(await client.models.generateContent(given));
  }
  const said = pieces.flatMap((piece) => piece.candidates ?? []);
  const parts = said.flatMap((one) => one.content?.parts ?? []);
  const call = parts.find((part) => part.functionCall)?.functionCall;
  const usage = pieces.map((piece) => piece.usageMetadata).findLast((one) => one);
  const text = parts.map((part) => (part.thought ? "" : part.text ?? "")).join("");
  const reasoning = usage.thoughtsTokenCount ?? 0;
  tell("gemini_generate_content", kind, model, {
    text,
    stop: said.at(-1).finishReason,
    tool: call ? { name: call.name, input: call.args } : null,
    parsed: kind === "json" ? JSON.parse(text) : null,
    input: usage.promptTokenCount,
    // Thoughts are counted apart from what is said.
    output: usage.candidatesTokenCount + reasoning,
    cached: usage.cachedContentTokenCount ?? null,
    reasoning,
  });
  return { content: { role: "model", parts }, call };
}

for (const { model, calls, tools: kinds, structured } of models("gemini_generate_content")) {
  const declared = { name: TOOL, description: ABOUT, parametersJsonSchema: PARAMETERS };
  const tools = [{ functionDeclarations: [declared] }];
  const choice = (mode, maxOutputTokens) => {
    return { tools, toolConfig: { functionCallingConfig: { mode } }, maxOutputTokens };
  };
  await ask(model, "whole", HELLO, { maxOutputTokens: SHORT });
  await ask(model, "stream", HELLO, { maxOutputTokens: SHORT });
  for (const kind of kinds) {
    const turns = [{ role: "user", parts: [{ text: ASK }] }];
    const { content, call } = await ask(model, kind, turns, choice(calls === "forced" ? "ANY" : "AUTO", LONG));
    const functionResponse = { id: call.id, name: call.name, response: { output: run(call.args) } };
    turns.push(content, { role: "user", parts: [{ functionResponse }] });
    await ask(model, kind.replace("tool", "result"), turns, choice("AUTO", SHORT));
  }
  if (structured) {
    const form = { responseMimeType: "application/json", responseJsonSchema: SCHEMA };
    await ask(model, "json", WHERE, { ...form, maxOutputTokens: LONG });
  }
}
end();
