"""How every command behaves: the common options, one line for an error, and the exit codes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from dangol.errors import DangolError, UnknownCustomer, UsageError

if TYPE_CHECKING:
    from dangol.config import Settings
    from dangol.engine import Engine

__all__ = [
    "Doors",
    "Interrupted",
    "as_of_option",
    "common",
    "engine_on",
    "engine_options",
    "load_kernels",
    "moment",
    "need_above_zero",
    "patience",
    "say",
    "segment_option",
    "settings_of",
]

INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended."""
PATIENT_SECONDS = 2.5
SEGMENT_NAMES = ("vip", "dormant", "mid", "low", "none")
log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])


class Interrupted(Exception):
    """Ctrl-C ended a command; the message says what is durable and how to go on."""


class Doors(click.Group):
    """The group of all commands, in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names as a newcomer would need them."""
        return list(self.commands)

    def main(  # type: ignore[override]  # it always exits, whatever standalone_mode says
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **_: Any
    ) -> NoReturn:
        """Run a command and exit: 0 done, 1 failed, 2 bad usage, 130 interrupted; errors are one line."""
        sys.exit(self._run(list(sys.argv[1:] if args is None else args), prog_name or "dangol"))

    def _run(self, args: list[str], name: str) -> int:
        try:
            with self.make_context(name, args) as context:
                self.invoke(context)
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as asked:
            click.echo(asked.ctx.get_help() if asked.ctx else "")
        except click.exceptions.Exit as end:
            return end.exit_code
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else name
            return _fail(f"{error.format_message().rstrip('.')}: see `{where} --help`", 2)
        except click.ClickException as error:
            return _fail(error.format_message(), 1)
        except DangolError as error:
            return _fail(_with_next(error), error.exit_code)
        except Interrupted as error:
            return _fail(str(error), INTERRUPTED)
        except (KeyboardInterrupt, click.Abort):
            return _fail("interrupted; what was committed before is kept", INTERRUPTED)
        except BrokenPipeError:  # as in `dangol changes | head`: the reader has what it wanted
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        except Exception as error:
            log.exception("event=unexpected_error")
            return _fail(f"unexpected {type(error).__name__}: please report the lines above", 1)
        return 0


def _with_next(error: DangolError) -> str:
    """Return the message, with the next step where it depends on the command line."""
    if isinstance(error, UnknownCustomer):
        return f"{error}: check the id, or list some with `dangol customers`"
    return str(error)


def _fail(message: str, code: int) -> int:
    click.echo("dangol: " + " ".join(message.split()), err=True)
    return code


def say(text: str) -> None:
    """Tell the person one line, on standard error."""
    click.echo(text, err=True)


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Say what takes so long, if the block compiles kernels: a slow import alone is not it.

    numba tells of each kernel that it compiles, and of none that it finds in its cache.
    """
    from numba.core import event

    words = "Compiling the kernels for this machine: once, about 15 seconds."
    timer = threading.Timer(PATIENT_SECONDS, say, [words])
    timer.daemon = True

    class Compiling(event.Listener):  # type: ignore[misc]  # numba has no types
        def on_start(self, _event: event.Event) -> None:
            if timer.ident is None:
                timer.start()

        def on_end(self, _event: event.Event) -> None:
            """Wait for the end of the block: more may follow."""

    try:
        with event.install_listener("numba:compile", Compiling()):
            yield
    finally:
        timer.cancel()


def load_kernels() -> None:
    """Import all that compiles, in one go."""
    with patience():
        import dangol.adapters.files
        import dangol.engine  # noqa: F401


def engine_on(settings: Settings) -> Engine:
    """Open the engine, the only writer, on the data folder of `settings`."""
    load_kernels()
    from dangol.engine import open_engine

    return open_engine(settings)


def common(command: F) -> F:
    """Add what every command takes: `--data` and `--json`."""
    folder = click.Path(path_type=Path, file_okay=False)
    command = click.option(
        "--json", "as_json", is_flag=True, help="Write one JSON object to standard output."
    )(command)
    return click.option("--data", type=folder, metavar="DIR", help="Data folder (default: a per-user one).")(
        command
    )


def engine_options(command: F) -> F:
    """Add what commands that run an engine take besides."""
    kinds = click.Choice(["event", "wall"])
    command = click.option(
        "--clock", type=kinds, help="What time it is: the latest event's, or the wall clock's."
    )(command)
    file = click.Path(path_type=Path)
    return click.option(
        "--rules", type=file, metavar="FILE", help="Cleanse file (default: the packaged one)."
    )(command)


def segment_option(command: F) -> F:
    """Add `--segment`."""
    return click.option(
        "--segment", type=click.Choice(SEGMENT_NAMES), help="Only customers of this segment."
    )(command)


def as_of_option(command: F) -> F:
    """Add `--as-of`."""
    words = "Judge at this moment, such as 2011-12-09T12:50:00Z; not before the data's own time."
    return click.option("--as-of", metavar="TIME", help=words)(command)


def settings_of(data: Path | None, **flags: Any) -> Settings:
    """Return the settings for a command's flags; those that are None come from elsewhere."""
    from dangol.config import load_settings

    return load_settings({"data": data, **flags})


def moment(text: str | None) -> int | None:
    """Return an ISO 8601 time as microseconds UTC."""
    from dangol.render import micros

    return None if text is None else micros(text)


def need_above_zero(name: str, value: float | None) -> None:
    """Refuse a number that makes no sense."""
    if value is not None and not value > 0:
        message = f"{name} must be above 0, not {value:g}"
        raise UsageError(message)
