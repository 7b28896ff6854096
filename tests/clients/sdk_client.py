"""The official Python SDK's client, unmodified, over a WebSocket, Streamable HTTP or stdio.

    python sdk_client.py legacy|auto [COMMAND [ARGUMENT]…] URL

With a command the client starts that, and it dials: among its arguments `{}` is the URL.

The SDK has no WebSocket transport since version 2, so `websocket` below is one: it takes what its client takes, streams of
messages. The transport over HTTP is its own. What goes over stdin and stdout is what sdk_client.mjs says.
"""

import os
import sys
from contextlib import asynccontextmanager
from functools import partial

import anyio
from lines import plain, progress_of, say, serve, told
from mcp import Client, MCPError, StdioServerParameters, types
from mcp.shared.message import SessionMessage
from websockets.asyncio.client import connect


@asynccontextmanager
async def websocket(url):
    to_client, read = anyio.create_memory_object_stream()
    write, from_client = anyio.create_memory_object_stream()

    async def incoming(socket):
        async with to_client:
            async for text in socket:
                message = types.jsonrpc_message_adapter.validate_json(text, by_name=False)
                await to_client.send(SessionMessage(message))

    async def outgoing(socket):
        async with from_client:
            async for message in from_client:
                await socket.send(message.message.model_dump_json(by_alias=True, exclude_unset=True))

    async with connect(url, subprotocols=["mcp"], max_size=None) as socket, anyio.create_task_group() as tasks:
        tasks.start_soon(incoming, socket)
        tasks.start_soon(outgoing, socket)
        yield read, write
        await socket.close()
        tasks.cancel_scope.cancel()


def answer(method, result):
    async def callback(*_):
        say({"asked": method})
        return result

    return callback


async def notified(message):
    if isinstance(message, Exception):
        say({"complaint": str(message)})
    else:
        told(message)


async def request(client, id, method, params):
    session = client.session
    methods = {
        "ping": lambda: session.send_ping(),
        "tools/list": lambda: client.list_tools(cache_mode="bypass"),
        "tools/call": lambda: client.call_tool(params["name"], params.get("arguments"), progress_callback=progress_of(id)),
        "prompts/list": lambda: client.list_prompts(cache_mode="bypass"),
        "prompts/get": lambda: client.get_prompt(params["name"], params.get("arguments")),
        "resources/list": lambda: client.list_resources(cache_mode="bypass"),
        "resources/templates/list": lambda: client.list_resource_templates(cache_mode="bypass"),
        "resources/read": lambda: client.read_resource(params["uri"]),
        "resources/subscribe": lambda: client.subscribe_resource(params["uri"]),
        "completion/complete": lambda: client.complete(reference(params["ref"]), params["argument"]),
        "logging/setLevel": lambda: client.set_logging_level(params["level"]),
    }
    try:
        result = await methods[method]()
        say({"id": id, "result": plain(result)})
    except MCPError as error:
        say({"id": id, "error": {"code": error.error.code, "message": error.error.message}})


def reference(ref):
    if ref["type"] == "ref/prompt":
        return types.PromptReference(name=ref["name"])
    return types.ResourceTemplateReference(uri=ref["uri"])


async def listen(client):
    async with client.listen(tools_list_changed=True) as changes:
        async for _ in changes:
            say({"notification": "notifications/tools/list_changed", "params": None})


def way(url, command):
    if command:
        name, *arguments = [url if part == "{}" else part for part in command]
        return StdioServerParameters(command=name, args=arguments, env=dict(os.environ))
    return url if url.startswith("http") else websocket(url)


async def main(mode, *rest):
    *command, url = rest
    sampled = types.CreateMessageResult(
        model="none", role="assistant", content=types.TextContent(type="text", text="sampled by the client")
    )
    elicited = types.ElicitResult(action="accept", content={"name": "elicited by the client"})
    roots = types.ListRootsResult(roots=[types.Root(uri="file:///client", name="client")])
    client = Client(
        way(url, command),
        # `legacy`: the era that has sessions, whatever else the other side speaks.
        mode=mode,
        list_roots_callback=answer("roots/list", roots),
        sampling_callback=answer("sampling/createMessage", sampled),
        elicitation_callback=answer("elicitation/create", elicited),
        message_handler=notified,
    )
    async with client:
        ready = {"instructions": client.instructions, "capabilities": plain(client.server_capabilities)}
        ready["serverInfo"] = plain(client.server_info) if client.server_info else None
        say({"ready": ready})
        async with anyio.create_task_group() as tasks:
            # Where there is no session, news have to be asked for.
            if client.protocol_version >= "2026":
                tasks.start_soon(listen, client)
            await serve(partial(request, client))
            tasks.cancel_scope.cancel()


anyio.run(main, *sys.argv[1:])
