#!/usr/bin/env python3
"""An MCP server with a calculator, in Python alone: no packages to install.

It reads one JSON-RPC message a line from standard input and answers on standard output, until standard input ends.
Whatever it wants to say to a person goes to standard error. To make a server of your own, copy this file and
replace the functions marked with @tool; or see sdk_clock.py, which does the same with the official SDK.

Try it:  mcp-pipe call calculator add '{"a": 2, "b": 3}'
"""

import ast
import json
import logging
import math
import operator
import sys

SERVER_INFO = {"name": "calculator", "version": "1.0.0"}
# Newest first: a client that asks for a version we don't know is offered the first.
PROTOCOL_VERSIONS = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603

log = logging.getLogger("calculator")


# --- The tools ------------------------------------------------------------------------------------------------------

TOOLS = {}


class ToolError(Exception):
    """What the tool can't do, in words for whoever called it: sent as a result with isError, not as a protocol error."""


def tool(description, **parameters):
    """Offers the decorated function as a tool; `parameters` maps each argument to its JSON Schema."""

    def register(function):
        schema = {"type": "object", "properties": parameters, "required": list(parameters)}
        entry = {"name": function.__name__, "description": description, "inputSchema": schema}
        TOOLS[function.__name__] = (function, entry)
        return function

    return register


def number(description):
    return {"type": "number", "description": description}


@tool("Add two numbers.", a=number("First number"), b=number("Second number"))
def add(a, b):
    return a + b


@tool("Subtract the second number from the first.", a=number("Number to subtract from"), b=number("Number to subtract"))
def subtract(a, b):
    return a - b


@tool("Multiply two numbers.", a=number("First number"), b=number("Second number"))
def multiply(a, b):
    return a * b


@tool("Divide the first number by the second.", a=number("Dividend"), b=number("Divisor"))
def divide(a, b):
    if b == 0:
        raise ToolError("division by zero")
    return exact(a / b) if not whole(a, b) or a % b else a // b


@tool(
    "Evaluate an arithmetic expression, such as '2 * (3 + sqrt(16)) ** 2'. "
    "Knows + - * / // % **, parentheses, pi, e, tau and common functions.",
    expression={"type": "string", "description": "The expression, in Python's notation"},
)
def evaluate(expression):
    if len(expression) > MAX_EXPRESSION:
        raise ToolError("the expression is longer than %d characters" % MAX_EXPRESSION)
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ToolError("not an arithmetic expression: %s" % getattr(error, "msg", error))
    return exact(compute(tree.body))


# --- Expressions: only what is listed here is computed, and nothing that takes long ---------------------------------

MAX_EXPRESSION = 1000  # characters; also bounds how deep an expression nests
MAX_BITS = 4096  # of a whole number, so that no power, product or factorial eats time and memory

CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}
FUNCTIONS = {
    name: getattr(math, name)
    for name in "sqrt exp log log2 log10 sin cos tan asin acos atan atan2 sinh cosh tanh floor ceil degrees radians hypot".split()
}


def round_to(value, digits=0):
    if not whole(digits) or abs(digits) > 300:
        raise ToolError("can't round to that many digits")
    return round(value, digits)


FUNCTIONS.update(abs=abs, round=round_to, min=min, max=max)


def power(base, exponent):
    if whole(base, exponent) and exponent > 0 and base.bit_length() * exponent > MAX_BITS:
        raise ToolError("the result of %s ** %s is too large" % (shorten(base), shorten(exponent)))
    return base**exponent


OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: power,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def compute(node):
    """The value of a part of an expression."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return bounded(node.value)
    if isinstance(node, ast.Name) and node.id in CONSTANTS:
        return CONSTANTS[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return bounded(OPERATORS[type(node.op)](compute(node.left), compute(node.right)))
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](compute(node.operand))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords:
        return bounded(FUNCTIONS[node.func.id](*[compute(argument) for argument in node.args]))
    if isinstance(node, ast.Name):
        raise ToolError("'%s' is not known here" % node.id)
    raise ToolError("only arithmetic is allowed")


def bounded(value):
    if isinstance(value, complex):
        raise ToolError("the result is not a real number")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ToolError("a number in the expression is too large")
    return value


def whole(*values):
    return all(isinstance(value, int) for value in values)


def exact(value):
    """4.0 as 4, where nothing is lost by it."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def shorten(value):
    return str(value) if not whole(value) or value.bit_length() < 64 else "(a large number)"


def as_text(value):
    if isinstance(value, float) and not math.isfinite(value):
        raise ToolError("the result is not a finite number")
    return str(exact(value))


# --- The protocol ---------------------------------------------------------------------------------------------------


class RpcError(Exception):
    """A request that can't be served; becomes the error member of the answer."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def initialize(params):
    asked = params.get("protocolVersion")
    return {
        "protocolVersion": asked if asked in PROTOCOL_VERSIONS else PROTOCOL_VERSIONS[0],
        "capabilities": {"tools": {}},
        "serverInfo": SERVER_INFO,
    }


def ping(_params):
    return {}


def list_tools(_params):
    return {"tools": [entry for _, entry in TOOLS.values()]}


def call_tool(params):
    name, arguments = params.get("name"), params.get("arguments") or {}
    if not isinstance(name, str) or name not in TOOLS:
        raise RpcError(INVALID_PARAMS, "unknown tool: %s" % name)
    function, entry = TOOLS[name]
    check_arguments(arguments, entry["inputSchema"])
    try:
        text, failed = as_text(function(**arguments)), False
    except ToolError as error:
        text, failed = str(error), True
    except (ArithmeticError, ValueError, TypeError, RecursionError) as error:
        text, failed = "can't be computed: %s" % error, True
    return {"content": [{"type": "text", "text": text}], "isError": failed}


def check_arguments(arguments, schema):
    if not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, "arguments must be an object")
    missing = [name for name in schema["required"] if name not in arguments]
    unknown = [name for name in arguments if name not in schema["properties"]]
    if missing or unknown:
        problems = ["%s is missing" % name for name in missing] + ["%s is not a parameter" % name for name in unknown]
        raise RpcError(INVALID_PARAMS, "; ".join(problems))
    for name, value in arguments.items():
        kind = schema["properties"][name]["type"]
        # type(), not isinstance(): in Python a bool is an int, in JSON it is no number.
        if type(value) not in {"number": (int, float), "string": (str,)}[kind]:
            raise RpcError(INVALID_PARAMS, "%s must be a %s" % (name, kind))


METHODS = {"initialize": initialize, "ping": ping, "tools/list": list_tools, "tools/call": call_tool}


def answer(line):
    """The answer to one line, or None where there is none to give."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        return failure(None, PARSE_ERROR, "not JSON: %s" % error)
    if not isinstance(request, dict):
        return failure(None, INVALID_REQUEST, "not a JSON object")
    if "method" not in request:
        return None  # an answer; we ask nothing
    if "id" not in request:
        return None  # a notification; none needs anything done here
    method, params = request["method"], request.get("params")
    try:
        if not isinstance(method, str) or method not in METHODS:
            raise RpcError(METHOD_NOT_FOUND, "unknown method: %s" % method)
        if not isinstance(params, (dict, type(None))):
            raise RpcError(INVALID_PARAMS, "params must be an object")
        return {"jsonrpc": "2.0", "id": request["id"], "result": METHODS[method](params or {})}
    except RpcError as error:
        return failure(request["id"], error.code, str(error))
    except Exception:  # a mistake in a tool must not end the server
        log.exception("%s failed", method)
        return failure(request["id"], INTERNAL_ERROR, "internal error; see the server's log")


def failure(request_id, code, message):
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}


def main():
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    log.info("calculator is ready with %d tools", len(TOOLS))
    # Bytes, not text: neither the platform's encoding nor its line ends have a say in what goes over the pipe.
    for line in iter(sys.stdin.buffer.readline, b""):
        if not line.strip():
            continue
        reply = answer(line)
        if reply is not None:
            sys.stdout.buffer.write(json.dumps(reply, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        # Stopped by hand, or nobody reads any more: no traceback for that. Closing standard error's sibling first
        # keeps the interpreter from complaining about it at its own exit.
        sys.stderr.close()
