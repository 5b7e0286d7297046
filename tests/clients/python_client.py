"""Drives an MCP endpoint with the official Python SDK, unmodified.

Reads one JSON object from standard input:

    {"url": …, "mode": "legacy" | "auto" | "2026-07-28",
     "token": …                                             sent as a header, or
     "client_id": …, "client_secret": …, "issuer": …        the SDK's own client-credentials flow from a bare 401,
     "answer": {"action": …, "content": …},                 what the user says when a tool asks,
     "sample": …,                                           what the model says when a tool asks,
     "steps": [{"list": true}, {"call": NAME, "arguments": {…}}, …]}

and writes one to standard output:

    {"protocol_version": …, "steps": [{"tools": […]} | {"text", "is_error", "progress", "questions"} | {"error"}]}
"""

import asyncio
import json
import sys

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError


class MemoryStorage:
    """Keeps what the SDK's provider wants kept between requests."""

    def __init__(self):
        self.tokens = None
        self.client_info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


def http_client(request):
    timeout = httpx2.Timeout(30.0)
    if "token" in request:
        return httpx2.AsyncClient(headers={"Authorization": f"Bearer {request['token']}"}, timeout=timeout)
    provider = ClientCredentialsOAuthProvider(
        server_url=request["url"],
        storage=MemoryStorage(),
        client_id=request["client_id"],
        client_secret=request["client_secret"],
        issuer=request["issuer"],
    )
    return httpx2.AsyncClient(auth=provider, timeout=timeout)


def root_cause(error):
    """The first plain exception inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def described(error):
    error = root_cause(error)
    found = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, MCPError):
        found.update(code=error.code, message=error.message, data=error.data)
    return found


async def run_step(client, step, questions):
    if step.get("list"):
        listed = await client.list_tools()
        return {"tools": [tool.name for tool in listed.tools]}
    progress = []

    async def on_progress(done, total, message):
        progress.append({"done": done, "total": total, "message": message})

    asked_before = len(questions)
    result = await client.call_tool(step["call"], step.get("arguments", {}), progress_callback=on_progress)
    return {
        "text": "".join(part.text for part in result.content if part.type == "text"),
        "is_error": bool(result.is_error),
        "progress": progress,
        "questions": questions[asked_before:],
    }


async def run(request):
    questions = []

    async def on_question(context, params):
        questions.append(params.message)
        return types.ElicitResult(**request["answer"])

    async def on_sample(context, params):
        said = types.TextContent(type="text", text=request["sample"])
        return types.CreateMessageResult(role="assistant", content=said, model="story")

    done = []
    async with http_client(request) as http:
        transport = streamable_http_client(request["url"], http_client=http)
        asks = {"elicitation_callback": on_question} if "answer" in request else {}
        if "sample" in request:
            asks["sampling_callback"] = on_sample
        async with Client(transport, mode=request["mode"], **asks) as client:
            for step in request["steps"]:
                try:
                    done.append(await run_step(client, step, questions))
                except Exception as error:
                    done.append({"error": described(error)})
            return {"protocol_version": client.protocol_version, "steps": done}


def main():
    request = json.load(sys.stdin)
    try:
        outcome = asyncio.run(run(request))
    except Exception as error:
        outcome = {"error": described(error)}
    json.dump(outcome, sys.stdout)


if __name__ == "__main__":
    main()
