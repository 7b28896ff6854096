#!/usr/bin/env python3
# /// script
# requires-python = ">=3.10"
# dependencies = ["mcp>=1.2", "tzdata"]
# ///
"""An MCP server with a clock, made with the official Python SDK.

The SDK is a package. Either install it where this Python finds it:

    pip install mcp tzdata
    mcp-pipe examples/sdk_clock.py

or let uv fetch it (it reads the lines at the top of this file):

    mcp-pipe -- uv run examples/sdk_clock.py

Never print() in a stdio server: standard output belongs to the protocol.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

try:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
except ModuleNotFoundError:  # version 1 of the SDK has them under another name
    from mcp.server.fastmcp import FastMCP as MCPServer
    from mcp.server.fastmcp.exceptions import ToolError

server = MCPServer("clock", log_level="WARNING")


@server.tool()
def now(timezone: str = "UTC") -> str:
    """The current date and time in a timezone, given by its IANA name such as Asia/Shanghai."""
    return datetime.now(zone(timezone)).strftime("%A, %Y-%m-%d %H:%M:%S %Z")


@server.tool()
def days_until(date: str, timezone: str = "UTC") -> int:
    """How many days from today until a date (YYYY-MM-DD); negative if it has passed."""
    try:
        day = datetime.strptime(date, "%Y-%m-%d").date()
    except ValueError:
        raise ToolError(f"{date!r} is no date; write YYYY-MM-DD") from None
    return (day - datetime.now(zone(timezone)).date()).days


def zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # The text of a ToolError reaches the caller. That of another error does with version 1 of the SDK only.
        raise ToolError(f"unknown timezone {name!r}; use an IANA name such as Asia/Ho_Chi_Minh") from None


if __name__ == "__main__":
    server.run()
