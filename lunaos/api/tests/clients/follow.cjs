// Starts a run, loses the connection, follows the run to its end, and prints its events as pairs of id and data.
// usage: node CLIENT.cjs URL AUTHORIZATION
"use strict";

const BODY = JSON.stringify({ agent: "code-review", context: "x" });

// `read(url, options, onEvent)` reads one stream until it ends or breaks off, and returns the response's X-Run-Id.
module.exports = async function follow(read) {
  const [url, authorization] = process.argv.slice(2);
  const headers = { Authorization: authorization, "Content-Type": "application/json" };
  const found = [];
  const onEvent = ({ id, data }) => found.push([Number(id), JSON.parse(data)]);

  const run = await read(`${url}/agents/execute`, { method: "POST", body: BODY, headers }, onEvent);
  const last = String(found.at(-1)[0]);
  await read(`${url}/runs/${run}/events`, { headers: { ...headers, "Last-Event-ID": last } }, onEvent);
  console.log(JSON.stringify(found));
};
