"""A setting comes from a flag, the environment, the file or its default, in this order."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from dangol.config import Settings, load_settings, settings_table
from dangol.errors import UsageError


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_stand_where_nothing_is_said() -> None:
    assert load_settings({}, {}) == Settings()


def test_a_flag_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "dangol.toml").write_text('port = 1\nhost = "file"\nclock = "wall"\n')
    found = load_settings({"port": 3, "host": None}, {"DANGOL_PORT": "2", "DANGOL_HOST": "environment"})
    assert (found.port, found.host, found.clock) == (3, "environment", "wall")


def test_a_file_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("max_line_bytes = 77\n")
    assert load_settings({}, {"DANGOL_CONFIG": str(tmp_path / "other.toml")}).max_line_bytes == 77


def test_paths_are_paths_and_know_the_home_folder() -> None:
    found = load_settings({"data": "~/shop"}, {"DANGOL_RULES": "mine.asaql"})
    assert found.data == Path.home() / "shop"
    assert found.rules == Path("mine.asaql")


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        ({}, {"DANGOL_PORT": "many"}, "port must be a whole number, not 'many'"),
        ({"clock": "sun"}, {}, "clock must be event or wall, not 'sun'"),
        ({"batch_bytes": 0}, {}, "batch_bytes must be above 0"),
        ({"colour": "red"}, {}, "unknown setting colour: the settings are .*api_key"),
        ({}, {"DANGOL_CONFIG": "missing.toml"}, "missing.toml cannot be read"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(
    flags: dict[str, object], environment: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        load_settings(flags, environment)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["port = [", "colour = 1", "\x00", 'port = "many"'])
def test_a_wrong_file_is_a_wrong_setting(tmp_path: Path, text: str) -> None:
    (tmp_path / "dangol.toml").write_text(text)
    with pytest.raises(UsageError):
        load_settings({}, {})


def test_a_file_that_is_not_text_is_said_to_be_unreadable(tmp_path: Path) -> None:
    (tmp_path / "dangol.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings({}, {})


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_is_in_the_table_with_words_and_none_of_this_machine() -> None:
    table = settings_table()
    assert [row[0] for row in table] == [setting.name for setting in fields(Settings)]
    assert all(doc and name == f"DANGOL_{key.upper()}" for key, name, _, doc in table)
    assert str(Path.home()) not in str(table)
