"use strict";

const { EventSourceParserStream } = require("eventsource-parser/stream");
const follow = require("./follow.cjs");

follow(async (url, options, onEvent) => {
  const response = await fetch(url, options);
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  try {
    for await (const event of events) onEvent(event);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // `fetch` throws TypeError when the connection breaks
  }
  return response.headers.get("X-Run-Id");
});
