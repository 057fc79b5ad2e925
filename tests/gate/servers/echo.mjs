// Answers every request alike, and writes each down as it was understood: PORT LOG ANSWER.
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";

const [port, log, answer] = process.argv.slice(2);
createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const headers = request.headers;
    const seen = {
      method: request.method,
      target: request.url,
      length: headers["content-length"] ?? "",
      coding: headers["transfer-encoding"] ?? "",
      body: Buffer.concat(pieces).toString(),
    };
    appendFileSync(log, JSON.stringify(seen) + "\n");
    response.writeHead(200, { "content-type": "application/json" });
    response.end(answer);
  });
}).listen(Number(port), "127.0.0.1");
