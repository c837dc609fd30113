"""All settings, in one table: each field's value comes from a flag, the environment, a TOML file or its default.

The environment name is DANGOL_ and the field in capitals; the TOML file is `dangol.toml` in the working
folder, or the one that DANGOL_CONFIG names.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from platformdirs import user_cache_path, user_data_path

from dangol.errors import UsageError

__all__ = ["ClockKind", "Settings", "load_settings", "settings_table"]

ClockKind = Literal["event", "wall"]


def _setting(doc: str, default: Any) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one engine or command; frozen, made by `load_settings`."""

    data: Path = _setting("data folder", user_data_path("dangol", appauthor=False))
    cache: Path = _setting("folder for downloads", user_cache_path("dangol", appauthor=False))
    rules: Path | None = _setting("cleanse file; the packaged one if not given", None)
    clock: ClockKind = _setting("what time is it: `event` (the latest event seen) or `wall`", "event")
    host: str = _setting("address to listen on", "127.0.0.1")
    port: int = _setting("port to listen on", 8787)
    api_key: str = _setting("key that HTTP callers must send as a bearer token; needed off loopback", "")
    max_body_bytes: int = _setting("largest request body, after unpacking", 16 << 20)
    max_line_bytes: int = _setting("longest line; a longer one is rejected", 1 << 20)
    queue_bytes: int = _setting("bytes that may wait for a commit before senders are told 429", 64 << 20)
    batch_bytes: int = _setting("most bytes of one micro-batch", 8 << 20)
    max_ahead_hours: int = _setting("lines dated further ahead of the wall clock are rejected", 24)
    auto_fit_customers: int = _setting(
        "fit a first model when so many customers have a live invoice, and anew at each doubling; 0 never", 0
    )
    simulator_file: Path | None = _setting(
        "file that the simulator replays; the generated shop if not given", None
    )

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_line_bytes", "queue_bytes", "batch_bytes"):
            if getattr(self, name) < 1:
                message = f"the setting {name} must be above 0, not {getattr(self, name)}"
                raise UsageError(message)
        if self.queue_bytes < self.max_body_bytes:
            message = (
                f"the setting queue_bytes = {self.queue_bytes} must not be below"
                f" max_body_bytes = {self.max_body_bytes}: a full body could never be taken"
            )
            raise UsageError(message)
        if self.clock not in get_args(ClockKind):
            message = f"the setting clock must be event or wall, not {self.clock!r}"
            raise UsageError(message)


def load_settings(flags: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings: `flags` that are not None go before the environment, and it before the TOML file."""
    environment = os.environ if environment is None else environment
    named = environment.get("DANGOL_CONFIG")
    values: dict[str, Any] = _from_file(Path(named or "dangol.toml"), must_exist=named is not None)
    for setting in fields(Settings):
        text = environment.get(f"DANGOL_{setting.name.upper()}")
        if text is not None:
            values[setting.name] = text
    values |= {name: value for name, value in flags.items() if value is not None}
    known = {setting.name for setting in fields(Settings)}
    unknown = sorted(set(values) - known)
    if unknown:
        message = f"unknown setting {unknown[0]}: the settings are {', '.join(sorted(known))}"
        raise UsageError(message)
    return Settings(**{name: _parsed(name, value) for name, value in values.items()})


def _from_file(path: Path, *, must_exist: bool) -> dict[str, Any]:
    if not path.exists() and not must_exist:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        message = f"the settings file {path} cannot be read ({cause}): mend it, or unset DANGOL_CONFIG"
        raise UsageError(message) from cause


def _parsed(name: str, value: Any) -> Any:
    kind = Settings.__annotations__[name]
    try:
        if kind == "int":
            return int(value)
        if "Path" in kind and value is not None:
            return Path(value).expanduser()
    except (TypeError, ValueError) as cause:
        message = f"the setting {name} must be a whole number, not {value!r}"
        raise UsageError(message) from cause
    return value


def settings_table() -> list[tuple[str, str, str, str]]:
    """Return (setting, environment name, default, what it does) for the reference page."""
    paths = {"data": "per-user data folder", "cache": "per-user cache folder"}
    return [
        (s.name, f"DANGOL_{s.name.upper()}", paths.get(s.name, str(s.default)), str(s.metadata["doc"]))
        for s in fields(Settings)
    ]
