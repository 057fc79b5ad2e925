// The Google GenAI SDK for JavaScript: batches of requests that come with them, of files, and of texts to embed.
import { readFile } from "node:fs/promises";
import { GoogleGenAI } from "@google/genai";

const [base, model, embeds] = process.argv.slice(2);
const client = new GoogleGenAI({ apiKey: "unused", httpOptions: { baseUrl: base } });
const contents = [{ role: "user", parts: [{ text: "Say hello." }] }];

// Looks until a batch has ended.
async function ended({ name }) {
  for (let look = 0; look < 300; look++) {
    const batch = await client.batches.get({ name });
    if (!["JOB_STATE_PENDING", "JOB_STATE_RUNNING"].includes(batch.state)) return batch;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${name} does not end`);
}

const text = (response) => response.candidates[0].content.parts[0].text;
const check = (holds, what) => {
  if (!holds) throw new Error(JSON.stringify(what));
};

const config = { maxOutputTokens: 20, systemInstruction: "Be brief." };
const src = [0, 1].map((nth) => ({ contents, config, metadata: { key: `request-${nth}` } }));
const made = await client.batches.create({ model, src, config: { displayName: "inline" } });
check(made.displayName === "inline" && made.model === `models/${model}`, made);
const inline = await ended(made);
check(inline.state === "JOB_STATE_SUCCEEDED", inline);

const request = { contents, generationConfig: { maxOutputTokens: 20 } };
const lines = [0, 1].map((nth) => JSON.stringify({ key: `line-${nth}`, request }));
const file = await client.files.upload({
  file: new Blob([lines.join("\n")]),
  config: { mimeType: "application/jsonl" },
});
const ofFile = await ended(await client.batches.create({ model, src: file.name }));
await client.files.download({ file: ofFile.dest.fileName, downloadPath: "results.jsonl" });
const output = await readFile("results.jsonl", "utf8");
const results = output.trim().split("\n").map((line) => JSON.parse(line));

let vectors = [];
if (embeds === "embeds") {
  const src = { inlinedRequests: { contents: ["one", "two"] } };
  const embedded = await ended(await client.batches.createEmbeddings({ model, src }));
  const responses = embedded.dest.inlinedEmbedContentResponses;
  vectors = responses.map((one) => one.response.embedding.values.length);
}

const listed = [];
for await (const one of await client.batches.list({ config: { pageSize: 1 } })) listed.push(one.name);
check(listed.includes(inline.name) && listed.includes(ofFile.name), listed);
const refused = {};
const refuse = async (name, call) => {
  try {
    await call();
  } catch (error) {
    refused[name] = error.status;
  }
};
await refuse("ended", () => client.batches.cancel({ name: inline.name }));
await client.batches.delete({ name: inline.name });
await refuse("gone", () => client.batches.get({ name: inline.name }));
await refuse("model", () => client.batches.create({ model: "unknown", src: file.name }));
console.log(
  JSON.stringify({
    inline: inline.dest.inlinedResponses.map((one) => text(one.response)),
    metadata: inline.dest.inlinedResponses.map((one) => one.metadata.key),
    file: results.map((one) => text(one.response)),
    keys: results.map((one) => one.key),
    vectors,
    refused,
  }),
);
