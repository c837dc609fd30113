"""Who may call: the key, the host name, the page's origin; and the headers every answer carries."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dangol.serve.problems import problem

__all__ = ["Guard", "is_loopback"]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI sets style attributes; only its page may.
DOCS_CSP = CSP.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


def is_loopback(host: str) -> bool:
    """Tell whether `host`, a name or an address, is reached from this machine alone."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware that lets in only who may call, and hardens every answer.

    With a key, `/v1` and `/metrics` need it as a bearer token. Without one the server is meant for this
    machine alone, so it answers only to loopback host names: a web page elsewhere cannot reach it by
    pointing a name of its own at 127.0.0.1. Requests that change something are refused when a browser
    sends them for a page of another origin.
    """

    def __init__(self, app: ASGIApp, *, api_key: str) -> None:
        self.app = app
        self.api_key = api_key.encode() if api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request, then pass it on with hardened answers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        csp = DOCS_CSP if scope["path"] == "/docs" else CSP

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = csp
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope, Headers(scope=scope))
        await (refusal or self.app)(scope, receive, hardened)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if self.api_key is None and host and not is_loopback(_name(host)):
            detail = f"The host name {host!r} is not this machine's own, and the server runs without a key."
            return problem(403, detail, kind="foreign-host")
        origin = headers.get("origin")
        if origin and scope["method"] not in SAFE_METHODS and urlsplit(origin).netloc != host:
            return problem(403, f"A page of {origin} may not change anything here.", kind="foreign-origin")
        if self.api_key is not None and _needs_key(scope["path"]) and not self._has_key(headers):
            return problem(
                401,
                "This address needs the server's key.",
                kind="unauthorized",
                headers={"WWW-Authenticate": 'Bearer realm="dangol"'},
            )
        return None

    def _has_key(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self.api_key or b"")


def _needs_key(path: str) -> bool:
    return path == "/v1" or path.startswith(("/v1/", "/metrics"))


def _name(host: str) -> str:
    return host.partition("]")[0] if host.startswith("[") else host.partition(":")[0]
