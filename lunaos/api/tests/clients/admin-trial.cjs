// The reader of the admin's "Try it" pane, out of the page's own script.
"use strict";

const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { runInThisContext } = require("node:vm");
const follow = require("./follow.cjs");

globalThis.document = { getElementById: () => null }; // the script finds no pane and only defines its functions
runInThisContext(readFileSync(join(__dirname, "../../../../web/static/admin_ui/trial.js"), "utf8"));

let id = 0; // the pane needs no ids and does not read them

follow(async (url, options, onEvent) => {
  const response = await fetch(url, options);
  try {
    for await (const event of eventsOf(response)) onEvent({ id: ++id, data: JSON.stringify(event) });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // `fetch` throws TypeError when the connection breaks
  }
  return response.headers.get("X-Run-Id");
});
