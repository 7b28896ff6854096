"""What the clients in Python have in common: the lines on their stdin and stdout, which are those that sdk_client.mjs says."""

import json
import sys

import anyio


def say(line):
    print(json.dumps(line, ensure_ascii=False), flush=True)


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def told(notification):
    params = notification.params
    say({"notification": notification.method, "params": plain(params) if params else None})


def progress_of(id):
    async def progress(progress, total, message):
        say({"progress": id, "params": {"progress": progress, "total": total}})

    return progress


async def serve(request, give_up=None):
    """Starts `request(id, method, params)` for each line, until there are no more.

    `give_up(id)`: tells the server that a request is given up, where the client doesn't by itself when its call is cancelled.
    """
    under_way = {}

    async def run(line):
        with anyio.CancelScope() as scope:
            under_way[line["id"]] = scope
            await request(line["id"], line["method"], line.get("params") or {})
        if scope.cancelled_caught:
            say({"id": line["id"], "error": {"code": None, "message": "cancelled by the client"}})

    async with anyio.create_task_group() as tasks:
        async for text in anyio.wrap_file(sys.stdin):
            line = json.loads(text)
            if "cancel" in line:
                if give_up:
                    await give_up(line["cancel"])
                under_way[line["cancel"]].cancel()
            else:
                tasks.start_soon(run, line)
        tasks.cancel_scope.cancel()
