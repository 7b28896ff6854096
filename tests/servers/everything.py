"""What the official conformance suite asks of a server, on the official Python SDK, which speaks both eras of MCP.

    python everything.py           over stdio
    python everything.py PORT      over Streamable HTTP, on loopback

Names and values are those that the suite looks for (`conformance server`, npm package @modelcontextprotocol/conformance).
"""

import base64
import json
import sys
import warnings
from typing import Annotated, Any

import anyio
from mcp import MCPError
from mcp.server.mcpserver import Context, MCPServer, RequestStateSecurity
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.streamable_http import EventMessage, EventStore
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    Completion,
    CreateMessageRequest,
    CreateMessageResult,
    ElicitRequest,
    ElicitResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field

# A later version of MCP deprecates what an earlier one asks for.
warnings.simplefilter("ignore")

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# 44 bytes of header and not one sample.
SOUND = base64.b64encode(
    b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0\1\0\x08\0data\0\0\0\0"
).decode()

server = MCPServer("everything", version="1.0.0", request_state_security=RequestStateSecurity.ephemeral())


def text(of: str) -> TextContent:
    return TextContent(type="text", text=of)


def image() -> ImageContent:
    return ImageContent(type="image", data=PIXEL, mime_type="image/png")


def embedded(uri: str, kind: str, of: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=kind, text=of))


def described(name: str) -> str:
    return f"for the scenario about {name}"


def form(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


# Tools of every version. Their results are content alone: none of them has an output schema.

CONTENT = {
    "test_simple_text": [text("This is a simple text response for testing.")],
    "test_image_content": [image()],
    "test_audio_content": [AudioContent(type="audio", data=SOUND, mime_type="audio/wav")],
    "test_embedded_resource": [
        embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ],
    "test_multiple_content_types": [
        text("Multiple content types test:"),
        image(),
        embedded("test://mixed-content-resource", "application/json", json.dumps({"test": "data", "value": 123})),
    ],
}


def add_tool(name: str, content: list[Any]) -> None:
    def answer() -> list[Any]:
        return content

    server.add_tool(answer, name=name, description=described(name), structured_output=False)


for name, content in CONTENT.items():
    add_tool(name, content)


def tool(function):
    return server.tool(description=described(function.__name__), structured_output=False)(function)


@tool
def test_error_handling() -> str:
    raise ToolError("This tool intentionally returns an error for testing")


async def log_in_turn(ctx: Context, *lines: str) -> None:
    for line in lines:
        await ctx.info(line)
        await anyio.sleep(0.05)


@tool
async def test_tool_with_logging(ctx: Context) -> str:
    await log_in_turn(ctx, "Tool execution started", "Tool processing data", "Tool execution completed")
    return "logged three times"


@tool
async def test_logging_tool(ctx: Context) -> str:
    await log_in_turn(ctx, "once")
    return "logged once"


@tool
async def test_tool_with_progress(ctx: Context) -> str:
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
        await anyio.sleep(0.05)
    return "went all the way"


@tool
async def test_reconnection(ctx: Context) -> str:
    # Over HTTP alone, this breaks the stream of the call; over stdio there is none.
    await ctx.close_sse_stream()
    await anyio.sleep(0.2)
    return "still here"


# These three the suite wants as tasks, too, which the SDK has none of; without them they are tools as others are.


@tool
def greet(name: str = "you") -> str:
    return f"Hello, {name}!"


@tool
async def slow_compute(seconds: float = 0) -> str:
    # As long as a client without tasks can wait.
    await anyio.sleep(min(seconds, 1))
    return "computed"


@tool
def confirm_delete(filename: str = "it") -> str:
    return f"{filename} is still there"


@tool
def test_x_mcp_header(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "nowhere",
) -> str:
    return f"in {region}"


@tool
def json_schema_2020_12_tool() -> str:
    return "nothing but a schema"


# The SDK derives schemas from functions, and none would have this one.
server._tool_manager._tools["json_schema_2020_12_tool"].parameters = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("street", "city")},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": [way]} for way in ("phone", "email")]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def comes_and_goes() -> str:
    return "here"


is_there = {"tool": False, "prompt": False}


def turned(kind: str) -> bool:
    """Whether it is there from now on: each time it is otherwise."""
    is_there[kind] = not is_there[kind]
    return is_there[kind]


@tool
async def test_trigger_tool_change(ctx: Context) -> str:
    if turned("tool"):
        server.add_tool(comes_and_goes, description=described("comes_and_goes"))
    else:
        server.remove_tool("comes_and_goes")
    await ctx.notify_tools_changed()
    return "tools have changed"


@tool
async def test_trigger_prompt_change(ctx: Context) -> str:
    if turned("prompt"):
        server.add_prompt(Prompt.from_function(comes_and_goes, description=described("comes_and_goes")))
    else:
        server.remove_prompt("comes_and_goes")
    await ctx.notify_prompts_changed()
    return "prompts have changed"


# Tools that ask the client while their call is under way: what versions with sessions have.


async def elicit(ctx: Context, message: str, schema: dict[str, Any]) -> str:
    answer = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return f"action={answer.action}, content={json.dumps(answer.content)}"


@tool
async def test_sampling(prompt: str, ctx: Context) -> str:
    message = SamplingMessage(role="user", content=text(prompt))
    said = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return f"LLM response: {said.content.text}"


@tool
async def test_elicitation(message: str, ctx: Context) -> str:
    asked = form(
        username={"type": "string", "description": "User's response"},
        email={"type": "string", "description": "User's email address"},
    )
    return f"User response: {await elicit(ctx, message, asked)}"


@tool
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    asked = form(
        name={"type": "string", "default": "John Doe"},
        age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5},
        status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        verified={"type": "boolean", "default": True},
    )
    return f"Elicitation completed: {await elicit(ctx, 'Who is it?', asked | {'required': []})}"


def named(prefix: str, title: str) -> list[dict[str, str]]:
    counted = enumerate(("First", "Second", "Third"), start=1)
    return [{"const": f"{prefix}{number}", "title": f"{nth} {title}"} for number, nth in counted]


@tool
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    plain = {"type": "string", "enum": ["option1", "option2", "option3"]}
    asked = form(
        untitledSingle=plain,
        titledSingle={"type": "string", "oneOf": named("value", "Option")},
        legacyEnum={
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        untitledMulti={"type": "array", "items": plain},
        titledMulti={"type": "array", "items": {"anyOf": named("value", "Choice")}},
    )
    return f"Elicitation completed: {await elicit(ctx, 'Which of them?', asked)}"


# Tools that answer with what they want to know, and are called again with it: what versions without sessions have.

NAME = form(name={"type": "string"})


def asks(message: str, schema: dict[str, Any]) -> ElicitRequest:
    return ElicitRequest.model_validate({"params": {"mode": "form", "message": message, "requestedSchema": schema}})


def samples(prompt: str, most: int) -> CreateMessageRequest:
    said = {"role": "user", "content": {"type": "text", "text": prompt}}
    return CreateMessageRequest.model_validate({"params": {"messages": [said], "maxTokens": most}})


def wants(state: str | None = None, **requests: Any) -> InputRequiredResult:
    return InputRequiredResult(input_requests=requests, request_state=state)


def given(ctx: Context, key: str, kind: type) -> Any:
    """The client's answer under this key, if it is one of this kind."""
    answer = (ctx.input_responses or {}).get(key)
    return answer if isinstance(answer, kind) else None


def filled_in(ctx: Context, key: str, field: str) -> Any:
    answer = given(ctx, key, ElicitResult)
    return (answer.content or {}).get(field) if answer else None


@tool
def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    name = filled_in(ctx, "user_name", "name")
    return f"Hello, {name}!" if name else wants(user_name=asks("What is your name?", NAME))


@tool
def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    said = given(ctx, "capital_question", CreateMessageResult)
    return said.content.text if said else wants(capital_question=samples("What is the capital of France?", 100))


@tool
def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    at = given(ctx, "client_roots", ListRootsResult)
    return ", ".join(str(root.uri) for root in at.roots) if at else wants(client_roots=ListRootsRequest())


@tool
def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    if given(ctx, "confirm", ElicitResult) and ctx.request_state == "asked once":
        return "state-ok"
    return wants("asked once", confirm=asks("Please confirm", form(ok={"type": "boolean"})))


@tool
def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    # The SDK seals the state, and refuses one that it has not sealed.
    if ctx.request_state:
        return "state-ok"
    return wants("sealed", confirm=asks("Please confirm", form(ok={"type": "boolean"})))


@tool
def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    name = filled_in(ctx, "user_name", "name")
    greeting = given(ctx, "greeting", CreateMessageResult)
    roots = given(ctx, "client_roots", ListRootsResult)
    if name and greeting and roots:
        return f"{greeting.content.text} {name}, at {len(roots.roots)}"
    return wants(
        "all three",
        user_name=asks("What is your name?", NAME),
        greeting=samples("Generate a greeting", 50),
        client_roots=ListRootsRequest(),
    )


@tool
def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    known = json.loads(ctx.request_state or "{}")
    name = filled_in(ctx, "step1", "name") or known.get("name")
    color = filled_in(ctx, "step2", "color")
    match name, color:
        case None, _:
            return wants("{}", step1=asks("Step 1: What is your name?", NAME))
        case _, None:
            ask = asks("Step 2: What is your favorite color?", form(color={"type": "string"}))
            return wants(json.dumps({"name": name}), step2=ask)
        case _:
            return f"{name} likes {color}"


@tool
def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
    has = ctx.client_capabilities
    ways = {"sampling": samples("Say hello", 50), "elicitation": asks("What is your name?", NAME)}
    able = {way: request for way, request in ways.items() if has and getattr(has, way) is not None}
    return wants("able", **able) if able else "there is nobody to ask"


@tool
def test_streaming_elicitation(ctx: Context) -> str | InputRequiredResult:
    return test_input_required_result_elicitation(ctx)


@tool
def test_missing_capability(ctx: Context) -> str:
    has = ctx.client_capabilities
    if has is None or has.sampling is None:
        needs = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "there is nobody to sample with", needs)
    return "there is somebody to sample with"


# Resources.


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    return base64.b64decode(PIXEL)


@server.resource("test://watched-resource", mime_type="text/plain")
def watched() -> str:
    return "watched"


@server.resource("test://template/{id}/data", mime_type="application/json")
def templated(id: str) -> str:
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


# Prompts.


def prompt(function):
    return server.prompt(description=described(function.__name__))(function)


def user(*content: Any) -> list[UserMessage]:
    return [UserMessage(content=one) for one in content]


@prompt
def test_simple_prompt() -> list[UserMessage]:
    return user(text("This is a simple prompt for testing."))


@prompt
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    return user(text(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))


@prompt
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
    resource = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return user(resource, text("Please process the embedded resource above."))


@prompt
def test_prompt_with_image() -> list[UserMessage]:
    return user(image(), text("Please analyze the image above."))


@prompt
def test_input_required_result_prompt(ctx: Context) -> list[UserMessage] | InputRequiredResult:
    context = filled_in(ctx, "user_context", "context")
    if context:
        return user(text(f"In this context: {context}"))
    ask = asks("What context should the prompt use?", form(context={"type": "string"}))
    return wants(user_context=ask)


@server.completion()
async def complete(ref: Any, argument: Any, context: Any) -> Completion:
    found = [word for word in ("paris", "park", "party") if word.startswith(argument.value)]
    return Completion(values=found, total=len(found), has_more=False)


# What the SDK has a type for, and leaves to its users.


async def agree(ctx: Any, params: Any) -> EmptyResult:
    return EmptyResult()


for method, params in (
    ("logging/setLevel", SetLevelRequestParams),
    ("resources/subscribe", SubscribeRequestParams),
    ("resources/unsubscribe", UnsubscribeRequestParams),
):
    server._lowlevel_server.add_request_handler(method, params, agree)


class Events(EventStore):
    """The events of all streams, so that those who come back get what they missed. An event's number is its place."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Any]] = []

    async def store_event(self, stream_id, message):
        self.all.append((stream_id, message))
        return str(len(self.all) - 1)

    async def replay_events_after(self, last_event_id, send_callback):
        last = int(last_event_id)
        stream = self.all[last][0]
        for number, (of, message) in enumerate(self.all[last + 1 :], start=last + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


if len(sys.argv) > 1:
    server.run(transport="streamable-http", port=int(sys.argv[1]), event_store=Events(), retry_interval=100)
else:
    server.run()
