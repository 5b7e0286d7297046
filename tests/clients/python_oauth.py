"""Authorizes with the official Python SDK, unmodified, from a bare 401 on, and calls tools with what it got.

Reads one JSON object from standard input:

    {"url": …,                                              the MCP endpoint
     "client": {"document": URL}                            known by its metadata document, or
             | {"register": METHOD}                         registers itself, or
             | {"client_id", "client_secret"?, "method"}    was registered before: these three act for a user; or
             | {"client_id", "client_secret", "issuer"}     acts for itself, with a secret, or
             | {"client_id", "key", "algorithm", "issuer"}  with a private key (PEM),
     "redirect_port": …,                                    where it listens for the browser
     "steps": [{"list": true}, {"call": NAME, "arguments": {…}}, …]}

and writes one JSON object per line: {"open": URL} whenever a person has to visit a page, in the end

    {"done": {"steps": [… as python_client.py has them], "client_id", "scope", "asked": [SCOPE, …]}}

where "asked" has the scope of each visit.
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata

from python_client import MemoryStorage, described, run_step


def say(message):
    print(json.dumps(message), flush=True)


class Person:
    """Sends a person to a page, and hears where the browser was sent back to."""

    def __init__(self, port):
        self.port = port
        self.redirect_uri = f"http://127.0.0.1:{port}/callback"
        self.asked = []
        self.returned = asyncio.Queue()

    async def listen(self):
        return await asyncio.start_server(self.hear, "127.0.0.1", self.port)

    async def hear(self, reader, writer):
        target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nclose")
        await writer.drain()
        writer.close()
        # Browsers ask for icons as well.
        if target.startswith("/callback?"):
            await self.returned.put(parse_qs(urlsplit(target).query))

    async def visit(self, url):
        self.asked.append(parse_qs(urlsplit(url).query).get("scope", [None])[0])
        say({"open": url})

    async def come_back(self):
        answer = {name: values[0] for name, values in (await self.returned.get()).items()}
        if "code" not in answer:
            raise RuntimeError(f"the person came back with {answer}")
        return AuthorizationCodeResult(code=answer["code"], state=answer.get("state"), iss=answer.get("iss"))


def provider_of(request, person, storage):
    client, url = request["client"], request["url"]
    if "key" in client:
        parameters = SignedJWTParameters(
            issuer=client["client_id"],
            subject=client["client_id"],
            signing_key=client["key"],
            signing_algorithm=client["algorithm"],
        )
        return PrivateKeyJWTOAuthProvider(
            server_url=url,
            storage=storage,
            client_id=client["client_id"],
            assertion_provider=parameters.create_assertion_provider(),
            issuer=client["issuer"],
        )
    if "issuer" in client:
        return ClientCredentialsOAuthProvider(
            server_url=url,
            storage=storage,
            client_id=client["client_id"],
            client_secret=client["client_secret"],
            issuer=client["issuer"],
        )
    metadata = OAuthClientMetadata(
        client_name="Python story",
        redirect_uris=[person.redirect_uri],
        grant_types=["authorization_code", "refresh_token"],
        token_endpoint_auth_method=client.get("register", "none"),
    )
    if "client_id" in client:
        storage.client_info = OAuthClientInformationFull(
            client_id=client["client_id"],
            client_secret=client.get("client_secret"),
            token_endpoint_auth_method=client["method"],
            redirect_uris=[person.redirect_uri],
        )
    return OAuthClientProvider(
        server_url=url,
        client_metadata=metadata,
        storage=storage,
        redirect_handler=person.visit,
        callback_handler=person.come_back,
        client_metadata_url=client.get("document"),
    )


async def run(request):
    person, storage = Person(request["redirect_port"]), MemoryStorage()
    steps = []
    listening = await person.listen()
    provider = provider_of(request, person, storage)
    async with listening, httpx2.AsyncClient(auth=provider, timeout=httpx2.Timeout(60.0)) as http:
        transport = streamable_http_client(request["url"], http_client=http)
        async with Client(transport) as client:
            for step in request["steps"]:
                try:
                    steps.append(await run_step(client, step, []))
                except Exception as error:
                    steps.append({"error": described(error)})
    client_id = storage.client_info.client_id if storage.client_info else request["client"].get("client_id")
    return {"steps": steps, "client_id": client_id, "scope": storage.tokens.scope, "asked": person.asked}


def main():
    request = json.loads(sys.stdin.readline())
    try:
        outcome = asyncio.run(run(request))
    except Exception as error:
        outcome = {"error": described(error)}
    say({"done": outcome})


main()
