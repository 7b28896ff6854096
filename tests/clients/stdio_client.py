"""The official Python SDK's client, unmodified, that starts its server itself.

    python stdio_client.py TOOL ARGUMENTS_JSON COMMAND [ARGUMENT]…

Prints the names of the tools, and the result of one call.
"""

import json
import os
import sys

import anyio
from mcp import Client, StdioServerParameters


async def main(tool, arguments, command, *rest):
    server = StdioServerParameters(command=command, args=list(rest), env=dict(os.environ), cwd=os.getcwd())
    async with Client(server) as client:
        tools = await client.list_tools()
        result = await client.call_tool(tool, json.loads(arguments))
        names = [tool.name for tool in tools.tools]
        print(json.dumps({"tools": names, "result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}))


anyio.run(main, *sys.argv[1:])
