"""A server without an SDK, of one or both eras of MCP as its arguments say: each process is bound to one by its first line.

    python both.py [legacy] [modern] [silent]

`silent`: it says nothing to the question of the modern era. Its tool `who` answers with its era and process, `die` ends it.
"""

import json
import os
import sys

eras = sys.argv[1:]
era = None


def result_of(method, params):
    if method == "initialize":
        return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "both", "version": "1"}}
    if method == "server/discover":
        return {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "both", "version": "1"}, "ttlMs": 60000, "cacheScope": "private"}
    if method == "tools/list":
        names = ["who", "die", era]
        return {"resultType": "complete", "ttlMs": 60000, "cacheScope": "private",
                "tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}
    if method == "tools/call" and params["name"] == "die":
        sys.exit(1)
    if method == "tools/call":
        return {"resultType": "complete", "content": [{"type": "text", "text": f"{era} {os.getpid()}"}]}
    return None


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method = message["method"]
    era = era or ("modern" if method == "server/discover" else "legacy")
    if era == "modern" and "silent" in eras:
        continue
    result = result_of(method, message.get("params", {})) if era in eras else None
    if result is None:
        answer = {"error": {"code": -32601, "message": f"{method}: not found"}}
    else:
        answer = {"result": result if era == "modern" else {k: v for k, v in result.items() if k not in ("resultType", "ttlMs", "cacheScope")}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
