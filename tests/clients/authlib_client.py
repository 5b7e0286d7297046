"""A second opinion: authorizes, refreshes, introspects and revokes with authlib, unmodified.

Reads one JSON object from standard input:

    {"metadata": URL, "client_id", "client_secret"?, "method", "redirect_uri", "scope", "resource"}

writes {"open": URL} when a person has to visit a page, and reads {"returned": URL}, where the browser ended. In the end
it writes

    {"done": {"token", "refreshed", "before": introspection, "after": introspection, "refused": error code}}

where "before" and "after" enclose the revocation of the refreshed access token, and "refused" is what a refresh gets
once the refresh token is revoked. Only a client with a secret introspects.
"""

import json
import sys

import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata


def say(message):
    print(json.dumps(message), flush=True)


def hear():
    return json.loads(sys.stdin.readline())


def introspected(session, metadata, token):
    if session.token_endpoint_auth_method == "none":
        return None
    answer = session.introspect_token(metadata["introspection_endpoint"], token=token)
    answer.raise_for_status()
    return answer.json()


def revoke(session, metadata, token, hint):
    answer = session.revoke_token(metadata["revocation_endpoint"], token=token, token_type_hint=hint)
    answer.raise_for_status()


def run(request):
    metadata = AuthorizationServerMetadata(requests.get(request["metadata"], timeout=30).json())
    session = OAuth2Session(
        client_id=request["client_id"],
        client_secret=request.get("client_secret"),
        token_endpoint_auth_method=request["method"],
        redirect_uri=request["redirect_uri"],
        scope=request["scope"],
        code_challenge_method="S256",
    )
    verifier = generate_token(64)
    url, state = session.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=verifier, resource=request["resource"]
    )
    say({"open": url})
    token = session.fetch_token(
        metadata["token_endpoint"],
        authorization_response=hear()["returned"],
        state=state,
        code_verifier=verifier,
        resource=request["resource"],
    )
    token = dict(token)
    refreshed = dict(session.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"]))
    before = introspected(session, metadata, refreshed["access_token"])
    revoke(session, metadata, refreshed["access_token"], "access_token")
    after = introspected(session, metadata, refreshed["access_token"])
    revoke(session, metadata, refreshed["refresh_token"], "refresh_token")
    try:
        session.refresh_token(metadata["token_endpoint"], refresh_token=refreshed["refresh_token"])
        refused = None
    except OAuthError as error:
        refused = error.error
    return {"token": token, "refreshed": refreshed, "before": before, "after": after, "refused": refused}


def main():
    try:
        outcome = run(hear())
    except Exception as error:
        outcome = {"error": {"type": type(error).__name__, "message": str(error)}}
    say({"done": outcome})


main()
