"use strict";

// The package is written for browsers.
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };

const { fetchEventSource } = require("@microsoft/fetch-event-source");
const follow = require("./follow.cjs");

follow(async (url, options, onEvent) => {
  let run;
  const reading = fetchEventSource(url, {
    ...options,
    async onopen(response) {
      run = response.headers.get("X-Run-Id");
    },
    onmessage: onEvent,
    onerror(error) {
      throw error; // else the package sends the POST again, which starts another run
    },
  });
  await reading.catch((error) => {
    if (!(error instanceof TypeError)) throw error; // `fetch` throws TypeError when the connection breaks
  });
  return run;
});
