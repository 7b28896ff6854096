"""A server made with one of the Python libraries: each has the same tools, and a resource.

    sdk_server.py LIBRARY TRANSPORT PORT

LIBRARY: `fastmcp` (3 or 4), `mcp` (1 or 2). TRANSPORT: `stdio`, `http` (at `/mcp`), `sse` (at `/sse`).
"""

import asyncio
import sys

library, transport, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
where = {} if transport == "stdio" else {"host": "127.0.0.1", "port": port}
transport = "streamable-http" if transport == "http" else transport

if library == "fastmcp":
    from fastmcp import Context, FastMCP

    server = FastMCP("python")
    run = {"show_banner": False, **where}
else:
    try:
        from mcp.server.mcpserver import Context, MCPServer

        server, run = MCPServer("python"), where
    except ImportError:
        from mcp.server.fastmcp import Context, FastMCP

        server, run = FastMCP("python", **where), {}


@server.tool()
def add(a: int, b: int) -> str:
    return str(a + b)


@server.tool()
async def slow(steps: int, ctx: Context) -> str:
    """Reports each step."""
    try:
        for step in range(steps):
            await ctx.report_progress(step + 1, steps)
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        print("slow was cancelled", file=sys.stderr, flush=True)
        raise
    return f"{steps} steps"


@server.tool()
async def grow(name: str, ctx: Context) -> str:
    """Adds a tool."""

    def grown() -> str:
        return name

    grown.__name__ = name
    server.tool()(grown)
    await ctx.session.send_tool_list_changed()
    return f"grown by {name}"


@server.resource("demo://text")
def text() -> str:
    return "some text"


server.run(transport=transport, **run)
