"""An MCP server on the official Python SDK: both eras on one endpoint, with the few things that clients try out.

    python_server.py PORT        the endpoint is http://127.0.0.1:PORT/mcp; `listening` is printed when it is served

Its tools, its prompt and its resource have the names that the reference server in tests/reference gives them.
"""

import sys

import mcp_types as types
import uvicorn
from mcp.server.lowlevel.server import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp.shared.message import ServerMessageMetadata

NOTE = "test://static-text"
FORM = {
    "type": "object",
    "properties": {"username": {"type": "string"}, "email": {"type": "string"}},
    "required": ["username", "email"],
}
NOTHING = {"type": "object", "properties": {}}
# What a page that is to be visited is known by.
PAGE = "sign-in"

# Who hears of a resource: modern clients by a bus, legacy ones by the sessions that subscribed.
bus = InMemorySubscriptionBus()
subscribers = {}


def said(text):
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


async def list_tools(context, params):
    named = {
        "test_simple_text": "Answers with a text",
        "test_tool_with_progress": "Reports progress three times",
        "test_elicitation": "Asks the user",
        "test_sampling": "Asks the client's model",
        "test_input_required_result_list_roots": "Asks for the client's folders",
        "test_url_elicitation": "Asks the user to visit a page",
        "test_touch_resource": "Says that a resource changed",
    }
    tools = [types.Tool(name=name, description=text, input_schema=NOTHING) for name, text in named.items()]
    return types.ListToolsResult(tools=tools)


async def call_tool(context, params):
    match params.name:
        case "test_simple_text":
            return said("This is a simple text, for tests.")
        case "test_tool_with_progress":
            for done in (0, 50, 100):
                await context.session.report_progress(done, 100)
            return said("Progress was reported.")
        case name if name in QUESTIONS:
            return await ask(context, params, *QUESTIONS[name])
        case "test_touch_resource":
            await touch(NOTE)
            return said("Everyone was told.")
    raise ValueError(f"there is no tool {params.name}")


async def ask(context, params, question, answered, say):
    """Legacy: by a request on the stream of the call. Modern: by the result, and the client calls again."""
    if context.protocol_version < "2026-07-28":
        meanwhile = ServerMessageMetadata(related_request_id=context.request_id)
        answer = await context.session.send_request(question(context), answered, metadata=meanwhile)
        if params.name == "test_url_elicitation":
            await context.session.send_elicit_complete(PAGE, related_request_id=context.request_id)
        return said(say(answer))
    answer = (params.input_responses or {}).get("asked")
    if answer is None:
        return types.InputRequiredResult(input_requests={"asked": question(context)})
    return said(say(answer))


def form(context):
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message="Who are you?", requested_schema=FORM))


def sampling(context):
    prompt = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="Say something."))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[prompt], max_tokens=100))


def page(context):
    """The id is of the legacy era alone."""
    known = {"elicitation_id": PAGE} if context.protocol_version < "2026-07-28" else {}
    params = types.ElicitRequestURLParams(message="Sign in.", url="https://example.com/sign-in", **known)
    return types.ElicitRequest(params=params)


QUESTIONS = {
    "test_elicitation": (
        form,
        types.ElicitResult,
        lambda answer: f"User response: action={answer.action}, content={answer.content}",
    ),
    "test_sampling": (
        sampling,
        types.CreateMessageResult,
        lambda answer: f"LLM response: {answer.content.text}",
    ),
    "test_input_required_result_list_roots": (
        lambda context: types.ListRootsRequest(),
        types.ListRootsResult,
        lambda answer: f"The client's folders: {[str(root.uri) for root in answer.roots]}",
    ),
    "test_url_elicitation": (
        page,
        types.ElicitResult,
        lambda answer: f"User response: action={answer.action}",
    ),
}


async def touch(uri):
    await bus.publish(ResourceUpdated(uri=uri))
    for session in list(subscribers.get(uri, ())):
        await session.send_resource_updated(uri)


async def subscribe(context, params):
    subscribers.setdefault(str(params.uri), set()).add(context.session)
    return types.EmptyResult()


async def unsubscribe(context, params):
    subscribers.get(str(params.uri), set()).discard(context.session)
    return types.EmptyResult()


async def list_resources(context, params):
    return types.ListResourcesResult(resources=[types.Resource(uri=NOTE, name="Static text", mime_type="text/plain")])


async def read_resource(context, params):
    text = types.TextResourceContents(uri=params.uri, mime_type="text/plain", text="The text of the static resource.")
    return types.ReadResourceResult(contents=[text])


async def list_prompts(context, params):
    return types.ListPromptsResult(prompts=[types.Prompt(name="test_simple_prompt", description="A prompt as it is")])


async def get_prompt(context, params):
    text = types.TextContent(type="text", text="A simple prompt, for tests.")
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=text)])


def main():
    server = Server(
        "python-reference",
        version="1.0.0",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_subscriptions_listen=ListenHandler(bus),
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )
    config = uvicorn.Config(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
