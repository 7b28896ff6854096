// A server made with the official TypeScript SDK: the tools and the resource of sdk_server.py.
//
//     node sdk_server.mjs NODE_MODULES VERSION TRANSPORT PORT
//
// VERSION: 1 (@modelcontextprotocol/sdk), 2 (@modelcontextprotocol/server). TRANSPORT: stdio, http (at /mcp), and sse (at /sse; version 1).

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, version, transport, port] = process.argv.slice(2);
const require = createRequire(join(modules, "sdk_server.js"));
const { z } = require("zod");
const isOld = version === "1";
const { McpServer } = isOld
  ? require("@modelcontextprotocol/sdk/server/mcp.js")
  : require("@modelcontextprotocol/server");

const text = (text) => ({ content: [{ type: "text", text }] });
// Version 2 wants a whole schema.
const input = (shape) => (isOld ? shape : z.object(shape));

function make() {
  const server = new McpServer({ name: "typescript", version: "1" });
  server.registerTool("add", { inputSchema: input({ a: z.number(), b: z.number() }) }, ({ a, b }) => text(`${a + b}`));
  server.registerTool("slow", { inputSchema: input({ steps: z.number() }) }, async ({ steps }, context) => {
    const meta = context._meta ?? context.mcpReq?._meta;
    const notify = context.sendNotification ?? context.mcpReq.notify;
    const signal = context.signal ?? context.mcpReq.signal;
    for (let step = 1; step <= steps && !signal.aborted; step++) {
      const params = { progressToken: meta?.progressToken, progress: step, total: steps };
      if (meta?.progressToken !== undefined) await notify({ method: "notifications/progress", params });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    if (signal.aborted) process.stderr.write("slow was cancelled\n");
    return text(`${steps} steps`);
  });
  server.registerTool("grow", { inputSchema: input({ name: z.string() }) }, ({ name }) => {
    server.registerTool(name, {}, () => text(name));
    return text(`grown by ${name}`);
  });
  server.registerResource("text", "demo://text", {}, (uri) => ({ contents: [{ uri: uri.href, text: "some text" }] }));
  return server;
}

const listen = (onRequest) => createServer(onRequest).listen(Number(port), "127.0.0.1");

if (isOld && transport === "stdio") {
  const { StdioServerTransport } = require("@modelcontextprotocol/sdk/server/stdio.js");
  await make().connect(new StdioServerTransport());
} else if (isOld && transport === "http") {
  const { StreamableHTTPServerTransport } = require("@modelcontextprotocol/sdk/server/streamableHttp.js");
  const sessions = new Map();
  listen(async (request, response) => {
    let session = sessions.get(request.headers["mcp-session-id"]);
    if (!session && request.headers["mcp-session-id"]) return response.writeHead(404).end();
    if (!session) {
      const onsessioninitialized = (id) => sessions.set(id, session);
      session = new StreamableHTTPServerTransport({ sessionIdGenerator: randomUUID, onsessioninitialized });
      await make().connect(session);
    }
    await session.handleRequest(request, response);
  });
} else if (isOld) {
  const { SSEServerTransport } = require("@modelcontextprotocol/sdk/server/sse.js");
  const sessions = new Map();
  listen(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    if (request.method === "GET" && url.pathname === "/sse") {
      const session = new SSEServerTransport("/message", response);
      sessions.set(session.sessionId, session);
      await make().connect(session);
    } else {
      const session = sessions.get(url.searchParams.get("sessionId"));
      await (session ? session.handlePostMessage(request, response) : response.writeHead(404).end());
    }
  });
} else if (transport === "stdio") {
  const { serveStdio } = require("@modelcontextprotocol/server/stdio");
  serveStdio(make);
} else {
  const { createMcpHandler } = require("@modelcontextprotocol/server");
  const { toNodeHandler } = require("@modelcontextprotocol/node");
  listen(toNodeHandler(createMcpHandler(make)));
}
