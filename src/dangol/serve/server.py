"""Runs the HTTP server around an engine, from the socket's opening to the last commit."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from dangol.config import Settings
from dangol.engine import Engine
from dangol.errors import UsageError
from dangol.serve.api import create_app
from dangol.serve.guard import is_loopback
from dangol.serve.simulator import Simulator
from dangol.serve.stream import Stopping

__all__ = ["INPUTS", "running", "serve"]

INPUTS = "inputs"
"""The folder inside the data folder whose files the simulator offers."""
GRACE_SECONDS = 10
log = logging.getLogger(__name__)


def serve(
    engine: Engine,
    host: str = "127.0.0.1",
    port: int = 8787,
    *,
    settings: Settings,
    simulator_file: Path | None = None,
    open_browser: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; then take nothing more, commit what waits, and return.

    The engine must have been started; it is drained here but left open. `on_ready` gets the page's
    address once the socket listens. `simulator_file` goes before the setting of that name. A second
    SIGINT ends without waiting for open requests.
    """
    with _prepared(engine, host, port, settings, simulator_file) as (server, listener, url):

        def ready() -> None:
            if on_ready:
                on_ready(url)
            if open_browser:
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

        server.on_ready = ready
        server.run(sockets=[listener])


@contextlib.contextmanager
def running(
    engine: Engine,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    settings: Settings,
    simulator_file: Path | None = None,
) -> Iterator[str]:
    """Serve in the background while the `with` block runs; gives the address. Port 0 takes a free one."""
    with _prepared(engine, host, port, settings, simulator_file) as (server, listener, url):
        listening = threading.Event()
        server.on_ready = listening.set
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="http")
        thread.start()
        try:
            while not listening.wait(0.1):
                if not thread.is_alive():
                    message = f"The HTTP server at {url} did not start; see the log."
                    raise UsageError(message)
            yield url
        finally:
            server.should_exit = True
            thread.join()


class _Server(uvicorn.Server):
    """A uvicorn server that ends endless answers, and whose caller goes on after a signal."""

    def __init__(self, config: uvicorn.Config, stopping: Stopping) -> None:
        super().__init__(config)
        self.on_ready: Callable[[], None] = lambda: None
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if self.started:
            self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then wait for open requests."""
        self._stopping.flag = True
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as the wish to end; uvicorn's own raises them again, past our commit."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


@contextlib.contextmanager
def _prepared(
    engine: Engine, host: str, port: int, settings: Settings, simulator_file: Path | None
) -> Iterator[tuple[_Server, socket.socket, str]]:
    _check_host(host, settings.api_key)
    listener = _listen(host, port)
    stopping = Stopping()
    simulator = Simulator(
        engine, file=simulator_file or settings.simulator_file, folder=settings.data / INPUTS
    )
    app = create_app(engine, settings=settings, simulator=simulator, stopping=stopping)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    name = f"[{host}]" if ":" in host else host
    try:
        yield _Server(config, stopping), listener, f"http://{name}:{listener.getsockname()[1]}"
    finally:
        listener.close()
        simulator.stop()
        engine.stop()


def _check_host(host: str, api_key: str) -> None:
    if not is_loopback(host) and not api_key:
        message = (
            f"{host} can be reached from other machines, and there is no key to keep them out; "
            "set DANGOL_API_KEY, or serve on 127.0.0.1."
        )
        raise UsageError(message)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            message = (
                f"Port {port} on {host} is in use; choose another with --port, or end the other program."
            )
        else:
            message = f"Cannot listen on {host} port {port} ({error.strerror or error}); choose others."
        raise UsageError(message) from error
    except OverflowError as error:
        listener.close()
        message = f"{port} is no port; choose one from 1 to 65535."
        raise UsageError(message) from error
    return listener
