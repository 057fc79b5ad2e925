// Ollama's package for JavaScript: each of its calls once, with the usage that it read.
import { Ollama } from "ollama";

const [base, model, closed] = process.argv.slice(2);
const client = new Ollama({ host: base });
const messages = [{ role: "user", content: "Say hello." }];
const options = { num_predict: 20 };
const calls = [];
const note = (name, stream, text, last) =>
  calls.push({ name, stream, text, input: last.prompt_eval_count, output: last.eval_count });

const chat = await client.chat({ model, messages, options });
note("ollama_chat", false, chat.message.content, chat);

let text = "";
let last;
const again = [...messages, chat.message, { role: "user", content: "Again." }];
for await (const part of await client.chat({ model, messages: again, options, stream: true })) {
  text += part.message.content;
  last = part;
}
note("ollama_chat", true, text, last);

text = "";
for await (const part of await client.generate({ model, prompt: "Say hello.", options, stream: true })) {
  text += part.response;
  last = part;
}
note("ollama_generate", true, text, last);

const refusals = {};
for (const [name, call] of Object.entries({
  chat: () => client.chat({ model: "unknown", messages }),
  // A gateway that grants nothing.
  closed: () => new Ollama({ host: closed }).chat({ model, messages }),
})) {
  try {
    await call();
  } catch (error) {
    refusals[name] = { class: error.name, code: error.status_code, message: error.message };
  }
}

const { models } = await client.list();
console.log(JSON.stringify({ calls, models: models.map((entry) => entry.model), refusals }));
