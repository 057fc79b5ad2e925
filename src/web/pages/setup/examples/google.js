import { GoogleGenAI } from "@google/genai";

const client = new GoogleGenAI({ apiKey: "-", httpOptions: { baseUrl: "BASE_URL" } });
const answer = await client.models.generateContent({ model: "MODEL", contents: "hello" });
console.log(answer.text);
