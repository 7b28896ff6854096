// The official TypeScript SDK's client, unmodified, over its own transports for WebSocket and Streamable HTTP: version 1.
//
//     node sdk_client.mjs NODE_MODULES URL

import { createRequire } from "node:module";
import { join } from "node:path";

import { answers, say, serve } from "./lines.mjs";

const [modules, url] = process.argv.slice(2);
const require = createRequire(join(modules, "sdk_client.js"));
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { WebSocketClientTransport } = require("@modelcontextprotocol/sdk/client/websocket.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
const types = require("@modelcontextprotocol/sdk/types.js");
// Node.js has one of its own from version 22 on.
globalThis.WebSocket ??= require("ws");

const client = new Client(
  { name: "typescript", version: "1" },
  { capabilities: { roots: { listChanged: true }, sampling: {}, elicitation: {} } },
);
for (const schema of [types.ListRootsRequestSchema, types.CreateMessageRequestSchema, types.ElicitRequestSchema]) {
  client.setRequestHandler(schema, ({ method }) => {
    say({ asked: method });
    return answers[method];
  });
}
client.onerror = (error) => say({ complaint: error.message });

const Transport = url.startsWith("http") ? StreamableHTTPClientTransport : WebSocketClientTransport;
await client.connect(new Transport(new URL(url)));
await serve(client, (params, options) => client.callTool(params, undefined, options));
