"""A server of the official Python SDK over HTTP with a separate event stream, at /sse on the port that is given.

It has three tools: `echo`, `count`, which tells of its progress, and `ask`, which asks the user before it answers.
"""

import sys

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

server = MCPServer("python-sse")


class Colour(BaseModel):
    colour: str


@server.tool()
def echo(message: str) -> str:
    return f"Echo: {message}"


@server.tool()
async def count(to: int, ctx: Context) -> str:
    for step in range(1, to + 1):
        await ctx.report_progress(step, to)
    return f"counted to {to}"


@server.tool()
async def ask(ctx: Context) -> str:
    answer = await ctx.elicit("Which colour?", Colour)
    return f"{answer.action}: {answer.data.colour if answer.action == 'accept' else 'none'}"


server.run("sse", port=int(sys.argv[1]))
