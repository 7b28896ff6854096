"""A server of the official Python SDK that speaks both eras of MCP.

    python eras.py           over stdio
    python eras.py PORT      over Streamable HTTP, on loopback

Its tools behave alike in both eras, whatever that takes underneath.
"""

import sys
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp_types import CreateMessageResult, ListRootsResult, SamplingMessage, TextContent
from pydantic import BaseModel

server = MCPServer("eras", instructions="of both eras")


class Name(BaseModel):
    name: str


@server.tool()
def echo(text: str) -> str:
    return text


@server.tool()
def fail() -> str:
    raise ValueError("as asked")


@server.tool()
async def steps(n: int, ctx: Context) -> str:
    for step in range(1, n + 1):
        await ctx.report_progress(step, n)
        await anyio.sleep(0.4)
    return "done"


@server.tool()
async def wait(ctx: Context) -> str:
    await ctx.report_progress(1)
    try:
        await anyio.sleep(60)
    except anyio.get_cancelled_exc_class():
        print("eras: cancelled", file=sys.stderr, flush=True)
        raise
    return "waited"


def first() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


def second(one: Annotated[Name, Resolve(first)]) -> Elicit[Name]:
    return Elicit(f"And who is with {one.name}?", Name)


@server.tool()
def ask(other: Annotated[Name, Resolve(second)]) -> str:
    return f"with {other.name}"


def thought() -> Sample:
    message = SamplingMessage(role="user", content=TextContent(type="text", text="think"))
    return Sample([message], max_tokens=5)


@server.tool()
def sample(said: Annotated[CreateMessageResult, Resolve(thought)]) -> str:
    return f"thought: {said.content.text}"


def where() -> ListRoots:
    return ListRoots()


@server.tool()
def roots(at: Annotated[ListRootsResult, Resolve(where)]) -> str:
    return ", ".join(str(root.uri) for root in at.roots)


@server.tool()
async def change(ctx: Context) -> str:
    await ctx.notify_tools_changed()
    await ctx.notify_resource_updated("note://a")
    return "changed"


@server.resource("note://a")
def note() -> str:
    return "a note"


@server.prompt()
def greet(name: str) -> str:
    return f"Greet {name}"


if len(sys.argv) > 1:
    server.run(transport="streamable-http", port=int(sys.argv[1]))
else:
    server.run()
