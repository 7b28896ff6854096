"""A stdio MCP server that takes of the machine what it is told to. Tools:

eat {mib}         holds so much more, 4 MiB at a time, and answers then
jump {mib}        asks for so much more at once
brood {n, mib}    starts n processes, of which each holds so much
open {n, catch}   opens so many files; with `catch` it goes on where it may not, and says so on stderr
limits {}         its limits and its niceness, and those of a process that it starts
print {to, from, n}  writes lines to stderr or stdout, numbered from `from` on
pid {}            its process id
"""

import json
import os
import subprocess
import sys
import time

held = []


def eat(mib):
    for _ in range(mib // 4):
        # No byte is zero: untouched pages would not count.
        held.append(b"x" * (4 << 20))
        # So slowly that whoever looks once a second sees it long before the system steps in.
        time.sleep(0.05)


def limits():
    import resource

    kinds = {"memory": resource.RLIMIT_DATA, "openFiles": resource.RLIMIT_NOFILE}
    told = {name: resource.getrlimit(kind) for name, kind in kinds.items()}
    return {**told, "nice": os.nice(0)}


def call(name, given):
    if name == "eat":
        eat(given["mib"])
    elif name == "jump":
        held.append(bytearray(given["mib"] << 20))
    elif name == "brood":
        program = f"import sys; held = b'x' * ({given['mib']} << 20); sys.stdin.read()"
        for _ in range(given["n"]):
            held.append(subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE))
        time.sleep(60)
    elif name == "open":
        try:
            held.extend(open(os.devnull) for _ in range(given["n"]))
        except OSError as error:
            if not given.get("catch"):
                raise
            print(error, file=sys.stderr, flush=True)
    elif name == "limits":
        if given.get("own"):
            return json.dumps(limits())
        ask = {"jsonrpc": "2.0", "id": 0, "method": "tools/call", "params": {"name": "limits", "arguments": {"own": 1}}}
        child = subprocess.run([sys.executable, __file__], input=json.dumps(ask), capture_output=True, text=True)
        of_child = json.loads(child.stdout)["result"]["content"][0]["text"]
        return json.dumps({"own": limits(), "child": json.loads(of_child)})
    elif name == "print":
        to = sys.stderr if given["to"] == "stderr" else sys.stdout
        lines = range(given["from"], given["from"] + given["n"])
        to.write("".join(f"line {n:06}{given.get('then', '')}\n" for n in lines))
        to.flush()
    elif name == "pid":
        return str(os.getpid())
    return "done"


TOOLS = ["eat", "jump", "brood", "open", "limits", "print", "pid"]


def answer(method, params):
    if method == "initialize":
        info = {"name": "eater", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": call(params["name"], params.get("arguments", {}))}]}
    return {}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        result = answer(message["method"], message.get("params", {}))
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
