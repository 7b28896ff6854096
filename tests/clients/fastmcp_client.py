"""The client of fastmcp, unmodified, over Streamable HTTP: of version 3 or 4.

    python fastmcp_client.py URL

What goes over stdin and stdout is what sdk_client.mjs says; of the methods it has those for tools.
"""

import sys

import anyio
import fastmcp
from fastmcp.client.elicitation import ElicitResult
from lines import plain, progress_of, say, serve, told

IS_OLD = fastmcp.__version__.startswith("3.")


async def heard(message):
    if isinstance(message, Exception):
        say({"complaint": str(message)})
    # Version 3 has those for a request, too, which is answered elsewhere; and wraps notifications.
    elif notification := getattr(message, "root", None if IS_OLD else message):
        told(notification)


async def sampled(messages, params, context):
    say({"asked": "sampling/createMessage"})
    return "sampled by the client"


async def elicited(message, response_type, params, context):
    say({"asked": "elicitation/create"})
    return ElicitResult(action="accept", content={"name": "elicited by the client"})


async def main(url):
    client = fastmcp.Client(
        url,
        roots=["file:///client"],
        sampling_handler=sampled,
        elicitation_handler=elicited,
        message_handler=heard,
        # The era that has sessions, whatever else the other side speaks.
        **({} if IS_OLD else {"mode": "legacy"}),
    )
    async with client:
        say({"ready": plain(client.initialize_result)})
        numbers = {}

        async def request(id, method, params):
            numbers[id] = getattr(client.session, "_request_id", None)
            methods = {
                "ping": client.ping,
                "tools/list": client.list_tools_mcp,
                "tools/call": lambda: client.call_tool_mcp(
                    params["name"], params.get("arguments") or {}, progress_handler=progress_of(id)
                ),
            }
            try:
                result = await methods[method]()
                say({"id": id, "result": {} if method == "ping" else plain(result)})
            except Exception as error:
                say({"id": id, "error": {"code": None, "message": str(error)}})

        async def give_up(id):
            await client.cancel(numbers[id])

        # From version 4 on, a call that is cancelled tells so by itself.
        await serve(request, give_up if IS_OLD else None)


anyio.run(main, sys.argv[1])
