// What the clients in TypeScript have in common: the lines on their stdin and stdout.
//
// stdin, a line each:   {"id": 1, "method": "tools/list", "params": {}}    {"cancel": 1}
// stdout, a line each:  {"ready": {…}} once initialised, {"id": 1, "result": {…}}, {"id": 1, "error": {"code", "message"}},
//                       {"progress": 1, "params": {…}}, {"notification": METHOD, "params": {…}}, {"asked": METHOD},
//                       {"complaint": TEXT}
// They end with their stdin.

import { createInterface } from "node:readline";

export const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

// What a client answers that is asked, by method.
export const answers = {
  "roots/list": { roots: [{ uri: "file:///client", name: "client" }] },
  "sampling/createMessage": {
    model: "none",
    role: "assistant",
    content: { type: "text", text: "sampled by the client" },
  },
  "elicitation/create": { action: "accept", content: { name: "elicited by the client" } },
};

// `callTool(params, options)` differs between the versions of the SDK.
export async function serve(client, callTool) {
  client.fallbackNotificationHandler = async ({ method, params }) => say({ notification: method, params });
  const methods = {
    ping: (_, options) => client.ping(options),
    "tools/list": (params, options) => client.listTools(params, options),
    "tools/call": callTool,
    "prompts/list": (params, options) => client.listPrompts(params, options),
    "prompts/get": (params, options) => client.getPrompt(params, options),
    "resources/list": (params, options) => client.listResources(params, options),
    "resources/templates/list": (params, options) => client.listResourceTemplates(params, options),
    "resources/read": (params, options) => client.readResource(params, options),
    "resources/subscribe": (params, options) => client.subscribeResource(params, options),
    "completion/complete": (params, options) => client.complete(params, options),
    "logging/setLevel": (params, options) => client.setLoggingLevel(params.level, options),
  };
  say({
    ready: {
      serverInfo: client.getServerVersion(),
      capabilities: client.getServerCapabilities(),
      instructions: client.getInstructions(),
    },
  });
  const underWay = new Map();
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, cancel, method, params } = JSON.parse(line);
    if (cancel !== undefined) {
      underWay.get(cancel).abort("the test says so");
      continue;
    }
    const abort = new AbortController();
    underWay.set(id, abort);
    methods[method](params, { signal: abort.signal, onprogress: (params) => say({ progress: id, params }) }).then(
      (result) => say({ id, result }),
      (error) => say({ id, error: { code: error.code ?? null, message: String(error.message ?? error) } }),
    );
  }
  await client.close();
}
