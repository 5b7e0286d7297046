"""A server of the official Python SDK that wants to know who asks, by the SDK's own bearer check and resource metadata.

Its only argument is JSON: {"port", "path", "issuer"} and either {"client_id", "client_secret"}, with which tokens are
introspected at the issuer (RFC 7662), or {"token"}, the one that is good. A path `/sse` is served over HTTP with a separate
event stream, any other over Streamable HTTP. Its tool `whoami` says as which client the caller is known.
"""

import base64
import json
import sys

import httpx2
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

setup = json.loads(sys.argv[1])
resource = f"http://127.0.0.1:{setup['port']}{setup['path']}"


class Introspection:
    """Whether a token is good is not judged here: the authorization server is asked each time."""

    def __init__(self):
        client = f"{setup['client_id']}:{setup['client_secret']}"
        self.headers = {"Authorization": "Basic " + base64.b64encode(client.encode()).decode()}

    async def verify_token(self, token):
        async with httpx2.AsyncClient() as http:
            url = f"{setup['issuer']}/token/introspection"
            said = (await http.post(url, data={"token": token}, headers=self.headers)).json()
        if not said["active"]:
            return None
        scopes = said.get("scope", "").split()
        return AccessToken(token=token, client_id=said["client_id"], scopes=scopes, resource=said["aud"])


class OneToken:
    async def verify_token(self, token):
        if token != setup["token"]:
            return None
        return AccessToken(token=token, client_id="one-token", scopes=["read"], resource=resource)


server = MCPServer(
    "python-guarded",
    token_verifier=OneToken() if "token" in setup else Introspection(),
    auth=AuthSettings(
        issuer_url=setup["issuer"],
        resource_server_url=resource,
        required_scopes=["read"],
        validate_token_resource=True,
    ),
)


@server.tool()
def whoami() -> str:
    return get_access_token().client_id


if setup["path"] == "/sse":
    server.run("sse", port=setup["port"])
else:
    server.run("streamable-http", port=setup["port"], streamable_http_path=setup["path"])
