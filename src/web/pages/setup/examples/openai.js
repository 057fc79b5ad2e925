import OpenAI from "openai";

const client = new OpenAI({ baseURL: "BASE_URL/v1", apiKey: "-" });
const answer = await client.chat.completions.create({
  model: "MODEL",
  messages: [{ role: "user", content: "hello" }],
});
console.log(answer.choices[0].message.content);
