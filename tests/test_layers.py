"""Each layer imports only what stands below it: the contracts of pyproject.toml, and what they cannot say."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dangol

ROOT = Path(dangol.__file__).parent
PROJECT = Path(__file__).resolve().parents[1]
MODULES = {
    ".".join(("dangol", *path.relative_to(ROOT).with_suffix("").parts)): path for path in ROOT.rglob("*.py")
}
CORE_LIBRARIES = {"numpy", "pyarrow", "numba", "msgspec"}
CORE_STANDARD = {
    "__future__",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "importlib",
    "itertools",
} | {
    "json",
    "math",
    "typing",
}


def tree_of(module: str) -> ast.AST:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports_of(module: str) -> Iterator[str]:
    """Return all modules that a module names in imports, within functions and for type checkers too."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Hold the package `dangol` in a folder against the contracts, as `make lint` does."""
    program = (
        "import sys; from importlinter import cli; sys.exit(cli.lint_imports(sys.argv[1], no_cache=True))"
    )
    command = [sys.executable, "-c", program, str(PROJECT / "pyproject.toml")]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True
    )


def test_the_code_keeps_the_contracts_of_its_layers() -> None:
    answer = lint(ROOT.parent)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("core/fold.py", "import dangol.adapters.runs"),
        ("adapters/files.py", "from dangol.config import Settings"),
        ("engine.py", "def late():\n    from dangol.serve.server import serve"),
        ("pipeline.py", "from dangol.testing.shop import Shop"),
        ("view.py", "import click"),
        ("helpers.py", '"""A module that has no place."""'),
    ],
)
def test_an_import_from_above_breaks_a_contract(tmp_path: Path, module: str, line: str) -> None:
    copy = tmp_path / "dangol"
    for path in MODULES.values():
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    with (copy / module).open("a", encoding="utf-8") as file:
        file.write(f"\n\n{line}\n")
    answer = lint(tmp_path)
    assert (answer.returncode, "BROKEN" in answer.stdout) == (1, True), answer.stdout + answer.stderr


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.startswith("dangol.core.")))
def test_core_imports_four_libraries_and_pure_parts_of_the_standard_one(module: str) -> None:
    tops = {name.partition(".")[0] for name in imports_of(module)}
    assert tops <= CORE_LIBRARIES | CORE_STANDARD | {"dangol"}


def test_no_module_imports_relatively() -> None:
    assert [m for m in MODULES if any(name.startswith(".") for name in imports_of(m))] == []


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        module
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert readers <= {"dangol.config"}


def test_no_module_is_longer_than_the_wall() -> None:
    long = {m: n for m, p in MODULES.items() if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}
