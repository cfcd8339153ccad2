// The smallest request of a TypeScript client: types generated from the document, requests by openapi-fetch.
import createClient from "openapi-fetch";
import type { paths } from "./schema";

const [baseUrl, token] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { Authorization: token! } });

const { data, error } = await client.POST("/agents/execute", {
  body: { agent: "code-review", context: "def add(a, b): return a - b", stream: false },
});
if (error) throw new Error(error.code);
if (typeof data !== "object" || !("output" in data.data)) throw new Error("the run goes on");
console.log(JSON.stringify({ output: data.data.output, finishReason: data.data.finishReason }));

const refused = await client.POST("/agents/execute", { body: { agent: "nonsense", context: "x", stream: false } });
console.log(JSON.stringify({ code: refused.error?.code }));
