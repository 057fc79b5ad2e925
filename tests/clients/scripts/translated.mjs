// What the scripts of translated calls share: the models to call, a tool that reads a note, a schema, and what is
// printed of each response.
import { readFileSync } from "node:fs";

export const [base, targets, note] = process.argv.slice(2);
export const SYSTEM = "You are brief.";
export const HELLO = "Say hello.";
export const ASK = "What does the note say?";
export const WHERE = "Name a city.";
export const TOOL = "read_file";
export const ABOUT = "Reads a file.";
export const PARAMETERS = {
  type: "object",
  properties: { file_path: { type: "string", enum: [note] } },
  required: ["file_path"],
};
export const SCHEMA = {
  type: "object",
  properties: { city: { type: "string", enum: ["Rome", "Oslo"] } },
  required: ["city"],
  additionalProperties: false,
};
export const SHORT = 20;
export const LONG = 400;

const calls = [];

// The models whose providers don't speak the format of the caller, each with the kinds of calls of a tool that are made
// of it, whether it is "forced" or "free" to call, and whether its provider keeps to a schema.
export const models = (own) =>
  JSON.parse(targets)
    .filter((target) => target.format !== own)
    .map((target) => ({ ...target, tools: target.calls ? ["tool", "tool_stream"] : [] }));
// Runs the tool with the arguments that the model wrote.
export const run = (input) => readFileSync(input.file_path, "utf8");
// Remembers a response: what was said, why it ended, the call of a tool, and the counts.
export const tell = (name, kind, model, said) =>
  calls.push({ name, kind, model, stream: kind.endsWith("stream"), tool: null, parsed: null, ...said });
export const end = () => console.log(JSON.stringify(calls));
