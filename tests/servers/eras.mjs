// A server of the official TypeScript SDK (version 2) that speaks both eras of MCP, or the newer one only.
//
//     node eras.mjs NODE_MODULES both|modern           over stdio
//     node eras.mjs NODE_MODULES both|modern PORT      over Streamable HTTP, on loopback
//
// Its tools are those of eras.py.

import { createRequire } from "node:module";
import { createServer } from "node:http";
import { join } from "node:path";

const [modules, eras, port] = process.argv.slice(2);
const require = createRequire(join(modules, "eras.js"));
const { McpServer, createMcpHandler, inputRequired, inputResponse } = require("@modelcontextprotocol/server");
const { serveStdio } = require("@modelcontextprotocol/server/stdio");
const { z } = require("zod");

const text = (text) => ({ content: [{ type: "text", text }] });
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const name = z.object({ name: z.string() });
let notifier; // of the HTTP handler

const build = () => {
  const server = new McpServer(
    { name: "eras", version: "1.0.0" },
    {
      instructions: "of both eras",
      capabilities: { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true }, prompts: {}, logging: {} },
    },
  );
  const tool = (tool, inputSchema, run) => server.registerTool(tool, { description: tool, inputSchema }, run);
  const progress = async (ctx, progress, total) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    if (progressToken !== undefined) {
      await ctx.mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress, total } });
    }
  };
  tool("echo", z.object({ text: z.string() }), async ({ text: said }) => text(said));
  tool("fail", z.object({}), async () => {
    throw new Error("as asked");
  });
  tool("steps", z.object({ n: z.number().int() }), async ({ n }, ctx) => {
    for (let step = 1; step <= n; step++) {
      await progress(ctx, step, n);
      await sleep(400);
    }
    return text("done");
  });
  tool("wait", z.object({}), async (_, ctx) => {
    await progress(ctx, 1);
    ctx.mcpReq.signal.addEventListener("abort", () => console.error("eras: cancelled"));
    await sleep(60_000);
    return text("waited");
  });
  tool("ask", z.object({}), async (_, ctx) => {
    // Which round it is, and what was answered in the one before, is in the state.
    const state = ctx.mcpReq.requestState?.();
    const answer = inputResponse(ctx.mcpReq.inputResponses, "who");
    const elicit = (message, requestState) =>
      inputRequired({ requestState, inputRequests: { who: inputRequired.elicit({ message, requestedSchema: name }) } });
    if (answer.kind !== "elicit") return elicit("Who are you?", "first");
    if (state === "first") return elicit(`And who is with ${answer.content.name}?`, "second");
    return text(`with ${answer.content.name}`);
  });
  tool("sample", z.object({}), async (_, ctx) => {
    const answer = inputResponse(ctx.mcpReq.inputResponses, "thought");
    if (answer.kind === "sampling") return text(`thought: ${answer.result.content.text}`);
    const messages = [{ role: "user", content: { type: "text", text: "think" } }];
    return inputRequired({ inputRequests: { thought: inputRequired.createMessage({ messages, maxTokens: 5 }) } });
  });
  tool("roots", z.object({}), async (_, ctx) => {
    const answer = inputResponse(ctx.mcpReq.inputResponses, "where");
    if (answer.kind === "roots") return text(answer.roots.map((root) => root.uri).join(", "));
    return inputRequired({ inputRequests: { where: inputRequired.listRoots() } });
  });
  tool("change", z.object({}), async () => {
    if (notifier) {
      notifier.toolsChanged();
      notifier.resourceUpdated("note://a");
    } else {
      await server.server.sendToolListChanged();
      await server.server.sendResourceUpdated({ uri: "note://a" });
    }
    return text("changed");
  });
  server.registerResource("note", "note://a", { mimeType: "text/plain" }, async () => ({
    contents: [{ uri: "note://a", mimeType: "text/plain", text: "a note" }],
  }));
  server.registerPrompt("greet", { argsSchema: name }, async ({ name }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Greet ${name}` } }],
  }));
  return server;
};

if (port === undefined) {
  serveStdio(build, { legacy: eras === "modern" ? "reject" : "serve" });
} else {
  const { toNodeHandler } = require("@modelcontextprotocol/node");
  const handler = createMcpHandler(build, { legacy: eras === "modern" ? "reject" : "stateless" });
  notifier = handler.notify;
  createServer(toNodeHandler(handler)).listen(Number(port), "127.0.0.1");
}
