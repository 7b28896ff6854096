// The official TypeScript SDK's client, unmodified, over its own transports for WebSocket and Streamable HTTP.
//
//     node sdk_client.mjs NODE_MODULES URL
//
// stdin, a line each:   {"id": 1, "method": "tools/list", "params": {}}    {"cancel": 1}
// stdout, a line each:  {"ready": {…}} once initialised, {"id": 1, "result": {…}}, {"id": 1, "error": {"code", "message"}},
//                       {"progress": 1, "params": {…}}, {"notification": METHOD, "params": {…}}, {"asked": METHOD},
//                       {"complaint": TEXT}
// It ends with its stdin.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [modules, url] = process.argv.slice(2);
const require = createRequire(join(modules, "sdk_client.js"));
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { WebSocketClientTransport } = require("@modelcontextprotocol/sdk/client/websocket.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
const types = require("@modelcontextprotocol/sdk/types.js");
// Node.js has one of its own from version 22 on.
globalThis.WebSocket ??= require("ws");

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const client = new Client(
  { name: "typescript", version: "1" },
  { capabilities: { roots: { listChanged: true }, sampling: {}, elicitation: {} } },
);
const answer = (schema, result) =>
  client.setRequestHandler(schema, (request) => {
    say({ asked: request.method });
    return result;
  });
answer(types.ListRootsRequestSchema, { roots: [{ uri: "file:///client", name: "client" }] });
answer(types.CreateMessageRequestSchema, {
  model: "none",
  role: "assistant",
  content: { type: "text", text: "sampled by the client" },
});
answer(types.ElicitRequestSchema, { action: "accept", content: { name: "elicited by the client" } });
client.fallbackNotificationHandler = async ({ method, params }) => say({ notification: method, params });
client.onerror = (error) => say({ complaint: error.message });

const methods = {
  ping: (_, options) => client.ping(options),
  "tools/list": (params, options) => client.listTools(params, options),
  "tools/call": (params, options) => client.callTool(params, undefined, options),
  "prompts/list": (params, options) => client.listPrompts(params, options),
  "prompts/get": (params, options) => client.getPrompt(params, options),
  "resources/list": (params, options) => client.listResources(params, options),
  "resources/templates/list": (params, options) => client.listResourceTemplates(params, options),
  "resources/read": (params, options) => client.readResource(params, options),
  "resources/subscribe": (params, options) => client.subscribeResource(params, options),
  "completion/complete": (params, options) => client.complete(params, options),
  "logging/setLevel": (params, options) => client.setLoggingLevel(params.level, options),
};

const Transport = url.startsWith("http") ? StreamableHTTPClientTransport : WebSocketClientTransport;
await client.connect(new Transport(new URL(url)));
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
