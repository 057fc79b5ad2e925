import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: "BASE_URL", apiKey: "-" });
const answer = await client.messages.create({
  model: "MODEL",
  max_tokens: 1000,
  messages: [{ role: "user", content: "hello" }],
});
console.log(answer.content[0].text);
