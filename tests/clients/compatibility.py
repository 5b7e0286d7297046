"""Tries an MCP endpoint out with the official Python SDK, unmodified: one thing after the other.

Reads one JSON object from standard input:

    {"url": …, "era": "legacy" | "modern" | "auto", "token": …, "content": what the user fills into a form,
     "tool": {"name", "arguments"}, "resource": URI, "prompt": NAME,
     "progress": {"name", "arguments"}, "elicitation": {"name", "arguments"},
     "subscription": {"uri", "touch": {"name", "arguments"}}}

and writes one to standard output, a fact for each, or what went wrong:

    {"protocol_version": …, "tools": {"listed", "text"}, "resources": {"text"}, "prompts": {"messages"},
     "progress": {"reports"}, "elicitation": {"asked", "text"}, "subscriptions": {"uri"}}
"""

import asyncio
import json
import sys

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

PATIENCE_S = 20
MODERN = "2026-07-28"


def text_of(result):
    return "".join(part.text for part in result.content if part.type == "text")


def root_cause(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return {"error": f"{type(error).__name__}: {error}"}


class Trial:
    def __init__(self, request):
        self.request = request
        self.asked = 0
        self.updated = asyncio.Queue()

    async def on_question(self, context, params):
        self.asked += 1
        return types.ElicitResult(action="accept", content=self.request["content"])

    async def on_message(self, message):
        if isinstance(message, types.ResourceUpdatedNotification):
            await self.updated.put(str(message.params.uri))

    async def call(self, name, **more):
        step = self.request[name] if isinstance(name, str) else name
        return await self.client.call_tool(step["name"], step["arguments"], **more)

    async def tools(self):
        listed = await self.client.list_tools()
        return {"listed": [tool.name for tool in listed.tools], "text": text_of(await self.call("tool"))}

    async def resources(self):
        await self.client.list_resources()
        read = await self.client.read_resource(self.request["resource"])
        return {"text": read.contents[0].text}

    async def prompts(self):
        await self.client.list_prompts()
        return {"messages": len((await self.client.get_prompt(self.request["prompt"])).messages)}

    async def progress(self):
        reports = []

        async def on_progress(done, total, message):
            reports.append(done)

        await self.call("progress", progress_callback=on_progress)
        return {"reports": len(reports)}

    async def elicitation(self):
        return {"text": text_of(await self.call("elicitation")), "asked": self.asked}

    async def subscriptions(self):
        uri, touch = self.request["subscription"]["uri"], self.request["subscription"]["touch"]
        if self.client.protocol_version == MODERN:
            async with self.client.listen(resource_subscriptions=[uri]) as subscription:
                await self.call(touch)
                event = await asyncio.wait_for(anext(aiter(subscription)), PATIENCE_S)
                return {"uri": str(event.uri)}
        await self.client.subscribe_resource(uri)
        await self.call(touch)
        return {"uri": await asyncio.wait_for(self.updated.get(), PATIENCE_S)}

    async def run(self):
        headers = {"Authorization": f"Bearer {self.request['token']}"}
        mode = {"modern": MODERN}.get(self.request["era"], self.request["era"])
        facts = {}
        async with httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30.0)) as http:
            transport = streamable_http_client(self.request["url"], http_client=http)
            handlers = {"elicitation_callback": self.on_question, "message_handler": self.on_message}
            async with Client(transport, mode=mode, **handlers) as self.client:
                facts["protocol_version"] = self.client.protocol_version
                for name in ("tools", "resources", "prompts", "progress", "elicitation", "subscriptions"):
                    try:
                        facts[name] = await asyncio.wait_for(getattr(self, name)(), PATIENCE_S + 5)
                    except Exception as error:
                        facts[name] = root_cause(error)
        return facts


def main():
    trial = Trial(json.load(sys.stdin))
    try:
        facts = asyncio.run(trial.run())
    except Exception as error:
        facts = root_cause(error)
    json.dump(facts, sys.stdout)


if __name__ == "__main__":
    main()
