// Says what it reads in bodies: each comes behind its length, four bytes.
const text = (value) => {
  if (value === undefined || value === null) return "-";
  return typeof value === "string" ? Buffer.from(value).toString("hex") : "!";
};
const flag = (value) => {
  if (value === undefined || value === null) return "-";
  return typeof value === "boolean" ? String(value) : "!";
};
const number = (value) => {
  if (value === undefined || value === null) return "-";
  return typeof value === "number" ? String(value) : "!";
};
const judged = (body) => {
  try {
    const seen = JSON.parse(body.toString());
    return [text(seen.model), flag(seen.stream), number(seen.max_tokens)].join("|");
  } catch {
    return "x";
  }
};

let held = Buffer.alloc(0);
process.stdin.on("data", (piece) => {
  held = Buffer.concat([held, piece]);
  const lines = [];
  let at = 0;
  while (held.length >= at + 4 && held.length >= at + 4 + held.readUInt32BE(at)) {
    const end = at + 4 + held.readUInt32BE(at);
    lines.push(judged(held.subarray(at + 4, end)));
    at = end;
  }
  held = held.subarray(at);
  if (lines.length) process.stdout.write(lines.join("\n") + "\n");
});
