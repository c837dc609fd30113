"""The server as a process: a signal ends it with everything committed and exit code 0."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from wire import line

from dangol.view import View

PROGRAM = """
import sys
from pathlib import Path
from dangol.config import Settings
from dangol.engine import open_engine
from dangol.serve.server import serve
settings = Settings(data=Path(sys.argv[1]))
with open_engine(settings) as engine:
    engine.start()
    ready = lambda url: sys.stdout.write(url + "\\n") and sys.stdout.flush()
    serve(engine, port=0, settings=engine.settings, on_ready=ready)
sys.stdout.write("ended\\n")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_order(tmp_path: Path, number: int) -> None:
    data = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(data)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        for n in range(20):
            assert httpx.post(f"{url}/v1/events", json=line(n, CustomerID="one")).status_code == 200
        os.kill(process.pid, number)
        assert process.stdout.read() == "ended\n"
        assert process.wait(20) == 0
    view = View.open(data)
    assert view.customer("one")["frequency"] == 20
    view.close()
