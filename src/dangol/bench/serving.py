"""Servers of the HTTP cases, each in its own process: dangol's, and the barest that takes the same bodies."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from dangol.bench.child import measured

__all__ = ["bare", "serve"]


def serve(folder: str) -> dict[str, Any]:
    """Serve dangol on a free port until standard input ends."""
    from dangol.config import load_settings
    from dangol.engine import open_engine
    from dangol.serve.server import running

    settings = load_settings({"data": Path(folder)}, {})
    with open_engine(settings) as engine:
        engine.start()
        with running(engine, settings=settings) as url:
            _tell(url)
            with measured() as usage:
                sys.stdin.read()
        status = engine.status()
    return usage.figures(status.events)


def bare() -> dict[str, Any]:
    """Read each body to its end and answer 204: what the HTTP machinery alone can do."""
    import socket

    import uvicorn

    lines = 0

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        nonlocal lines
        more = True
        while more:
            message = await receive()
            lines += message.get("body", b"").count(b"\n")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    options: dict[str, Any] = {"loop": "uvloop", "http": "httptools", "ws": "none", "lifespan": "off"}
    server = uvicorn.Server(uvicorn.Config(answer, **options, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        _tell(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with measured() as usage:
            sys.stdin.read()
        server.should_exit = True
        thread.join()
    return usage.figures(lines)


def _tell(url: str) -> None:
    sys.stdout.write(json.dumps({"url": url}) + "\n")
    sys.stdout.flush()
