/* Runs an agent from the reference and shows its events as they come; a request body in Swagger UI would wait for the end. */
"use strict";

const box = document.querySelector("[data-stream-box]");
const output = box.querySelector("output");
const stop = box.querySelector("[data-stop]");
let underWay = null;

function show(text) {
  output.append(text);
  output.scrollTop = output.scrollHeight;
}

function showEvent(event) {
  if (event.type === "chunk") show(event.content);
  else show(`\n[${event.type}] ${JSON.stringify(event)}\n`);
}

/* Yields the JSON object of each `data:` line; comment lines keep the connection alive and are skipped. */
async function* events(body) {
  let rest = "";
  for (const reader = body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
  }
}

async function run(form) {
  underWay = new AbortController();
  const response = await fetch("/agents/execute", {
    method: "POST",
    signal: underWay.signal,
    headers: { Authorization: `Bearer ${form.get("token").trim()}`, "Content-Type": "application/json" },
    body: JSON.stringify({ agent: form.get("agent"), context: form.get("context"), onDisconnect: "cancel" }),
  });
  if (!response.ok) return show(`HTTP ${response.status}\n${JSON.stringify(await response.json(), null, 2)}`);
  for await (const event of events(response.body)) showEvent(event);
}

box.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  if (underWay) return;
  output.replaceChildren();
  stop.hidden = false;
  await run(new FormData(box)).catch((error) => show(`\n[${error.name === "AbortError" ? "stopped" : error.message}]`));
  stop.hidden = true;
  underWay = null;
});
stop.addEventListener("click", () => underWay?.abort());
