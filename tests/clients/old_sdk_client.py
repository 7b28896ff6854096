"""The official Python SDK's client as it was before version 2, unmodified, over Streamable HTTP.

    python old_sdk_client.py URL

What goes over stdin and stdout is what sdk_client.mjs says.
"""

import sys

import anyio
from lines import plain, progress_of, say, serve, told
from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamable_http_client


def answer(method, result):
    async def callback(*_):
        say({"asked": method})
        return result

    return callback


async def heard(message):
    if isinstance(message, Exception):
        say({"complaint": str(message)})
    elif isinstance(message, types.ServerNotification):
        told(message.root)


async def main(url):
    sampled = types.CreateMessageResult(
        model="none", role="assistant", content=types.TextContent(type="text", text="sampled by the client")
    )
    elicited = types.ElicitResult(action="accept", content={"name": "elicited by the client"})
    roots = types.ListRootsResult(roots=[types.Root(uri="file:///client", name="client")])
    async with (
        streamable_http_client(url) as (read, write, _),
        ClientSession(
            read,
            write,
            list_roots_callback=answer("roots/list", roots),
            sampling_callback=answer("sampling/createMessage", sampled),
            elicitation_callback=answer("elicitation/create", elicited),
            message_handler=heard,
        ) as session,
    ):
        hello = await session.initialize()
        say({"ready": plain(hello)})
        numbers = {}

        async def request(id, method, params):
            # What the session calls it, which it says to nobody: whoever gives up a request needs that.
            numbers[id] = session._request_id
            methods = {
                "ping": session.send_ping,
                "tools/list": session.list_tools,
                "tools/call": lambda: session.call_tool(
                    params["name"], params.get("arguments"), progress_callback=progress_of(id)
                ),
                "prompts/list": session.list_prompts,
                "prompts/get": lambda: session.get_prompt(params["name"], params.get("arguments")),
                "resources/list": session.list_resources,
                "resources/templates/list": session.list_resource_templates,
                "resources/read": lambda: session.read_resource(params["uri"]),
                "resources/subscribe": lambda: session.subscribe_resource(params["uri"]),
                "completion/complete": lambda: session.complete(
                    types.PromptReference(**params["ref"]), params["argument"]
                ),
                "logging/setLevel": lambda: session.set_logging_level(params["level"]),
            }
            try:
                say({"id": id, "result": plain(await methods[method]())})
            except McpError as error:
                say({"id": id, "error": {"code": error.error.code, "message": error.error.message}})

        async def give_up(id):
            params = types.CancelledNotificationParams(requestId=numbers[id])
            await session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))

        await serve(request, give_up)


anyio.run(main, sys.argv[1])
