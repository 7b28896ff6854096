"""The official Python SDK's client of version 1, unmodified, over a transport that later versions lack.

    python front_client.py ws|sse URL TOOL ARGUMENTS_JSON

Prints the names of the tools, and the result of one call.
"""

import json
import sys

import anyio
from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.websocket import websocket_client


async def main(kind, url, tool, arguments):
    connect = {"ws": websocket_client, "sse": sse_client}[kind]
    async with connect(url) as streams, ClientSession(*streams) as session:
        await session.initialize()
        names = [tool.name for tool in (await session.list_tools()).tools]
        result = await session.call_tool(tool, json.loads(arguments))
        print(json.dumps({"tools": names, "result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}))


anyio.run(main, *sys.argv[1:])
