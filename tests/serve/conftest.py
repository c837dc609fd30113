"""A real server around a real engine, on a free port of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dangol.config import Settings
from dangol.engine import Engine, open_engine
from dangol.serve.server import running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", max_body_bytes=1 << 20, queue_bytes=4 << 20)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with open_engine(settings) as engine:
        engine.start()
        yield engine


@pytest.fixture
def url(engine: Engine) -> Iterator[str]:
    with running(engine, settings=engine.settings) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=20) as client:
        yield client
