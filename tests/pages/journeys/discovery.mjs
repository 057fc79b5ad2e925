// A model server nearby: looked for when asked, added with one click, and there to chat with. It
// changes the gateway, as the journey of the configuration does.
import { ADMIN, axe, check, equal, journey, json, open } from "./browser.mjs";
import { createServer } from "node:http";

const { config } = await json(`${ADMIN}/aperture/config`);
const [host] = JSON.parse(config).discover.hosts;
const said = [];
const server = createServer((request, answer) => {
  said.push(request.url);
  answer.setHeader("content-type", "application/json");
  answer.end(JSON.stringify({ object: "list", data: [{ id: "llama3.2:3b", object: "model", owned_by: "library" }] }));
});
await new Promise((done) => { server.listen(11434, host, done); });

await journey(async (context) => {
  const page = await open(context);
  await page.goto(`${ADMIN}/ui/providers`);
  await page.getByRole("link", { name: "Look for servers" }).click();
  await page.getByText(host, { exact: true }).waitFor();
  equal(said.length, 0, "questions before anybody asked");
  await page.getByRole("button", { name: "Look now" }).click();
  const row = page.locator("tr", { hasText: `http://${host}:11434` });
  await row.waitFor();
  check((await row.textContent()).includes("Ollama"), "what it is");
  check((await row.textContent()).includes("llama3.2:3b"), "what it has");
  await axe(page, "discovery");
  await row.getByRole("button", { name: "Add" }).click();
  await row.getByText("added as ollama").waitFor();
  await page.getByRole("button", { name: "Look again" }).click();
  await row.getByText("configured").waitFor();

  await page.goto(`${ADMIN}/ui/providers`);
  check((await page.locator("main").innerText()).includes(`Ollama on ${host}`), "it is a provider");
  await page.goto(`${ADMIN}/ui/chat?model=ollama%2Fllama3.2%3A3b`);
  equal(await page.getByLabel("Model", { exact: true }).inputValue(), "ollama/llama3.2:3b", "it can be chatted with");
  await page.goto(`${ADMIN}/ui/config/history`);
  check((await page.locator("main").innerText()).includes("saved here or through the API"), "the history has it");
});
