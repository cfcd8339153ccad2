// Trial of the prompt in the form: sends it and appends the streamed answer. Leaving the page cancels the trial.
"use strict";

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}

// Returns the message of an error response: sentence and code, and for an invalid form the fields.
async function refusalOf(response) {
  const error = await response.json().catch(() => null);
  if (!error || !error.code) return "Your session has ended. Sign in again in another tab, then try again.";
  const fields = (error.fields || []).map((each) => ` ${each.field}: ${each.message}`);
  return `${error.error}${fields.join("")} (${error.code})`;
}

function tryOut(pane, form) {
  const answer = pane.querySelector("pre");
  const status = pane.querySelector("[role=status]");
  const { go, stop } = form.elements;
  let asking = null;

  function say(text, failed = false) {
    status.textContent = text;
    status.classList.toggle("is-failed-text", failed);
  }

  function busy(is) {
    go.disabled = is;
    stop.disabled = !is;
    answer.setAttribute("aria-busy", String(is)); // screen readers wait until the answer is complete
    if (document.activeElement === document.body) (is ? stop : go).focus();
  }

  async function ask() {
    const sent = new FormData(form);
    const agent = document.getElementById(pane.dataset.of).elements;
    for (const name of ["prompt", "temperature", "max_tokens"]) sent.set(name, agent[name].value);
    if (agent.slug) sent.set("agent", agent.slug.value);
    const headers = { Accept: "text/event-stream, application/json;q=0.9" };
    const response = await fetch(form.action, { method: "POST", body: sent, headers, signal: asking.signal });
    if (!response.headers.get("Content-Type").startsWith("text/event-stream")) return say(await refusalOf(response), true);
    for await (const event of eventsOf(response)) {
      if (event.type === "start") say(`${event.provider}/${event.model} answers…`);
      if (event.type === "chunk") answer.append(event.content);
      if (event.type === "error") return say(`${event.error} (${event.code})`, true);
      if (event.type === "done") {
        const { input, output } = event.tokens;
        const cost = event.costKnown === false ? "cost unknown" : event.cost;
        return say(`Done in ${event.duration}: ${input} tokens in, ${output} out, ${cost}.`);
      }
    }
    say("The connection broke off.", true);
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (asking) return;
    asking = new AbortController();
    answer.textContent = "";
    busy(true);
    say("Sending…");
    try {
      await ask();
    } catch (error) {
      const stopped = asking.signal.aborted;
      say(stopped ? "Stopped." : "The platform cannot be reached.", !stopped);
    }
    asking = null;
    busy(false);
  });
  stop.addEventListener("click", () => asking && asking.abort());
}

const trial = document.getElementById("trial");
if (trial) {
  trial.hidden = false;
  const form = trial.querySelector("form");
  if (form) tryOut(trial, form);
}
