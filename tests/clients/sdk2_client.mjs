// The same of version 2, over Streamable HTTP, in the era with sessions or in the one without.
//
//     node sdk2_client.mjs NODE_MODULES legacy|auto URL

import { createRequire } from "node:module";
import { join } from "node:path";

import { answers, say, serve } from "./lines.mjs";

const [modules, mode, url] = process.argv.slice(2);
const require = createRequire(join(modules, "sdk2_client.js"));
const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");

const client = new Client(
  { name: "typescript", version: "2" },
  { capabilities: { roots: {}, sampling: {}, elicitation: {} }, versionNegotiation: { mode } },
);
for (const method of Object.keys(answers)) {
  client.setRequestHandler(method, () => {
    say({ asked: method });
    return answers[method];
  });
}
client.onerror = (error) => say({ complaint: error.message });

await client.connect(new StreamableHTTPClientTransport(new URL(url)));
// Where there is no session, news have to be asked for.
if (client.getNegotiatedProtocolVersion() >= "2026") await client.listen({ toolsListChanged: true });
await serve(client, (params, options) => client.callTool(params, options));
