"""Each layer imports only what stands below it: core is pure, adapters know no engine, nobody needs the server."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dangol

ROOT = Path(dangol.__file__).parent
MODULES = {
    ".".join(("dangol", *path.relative_to(ROOT).with_suffix("").parts)): path for path in ROOT.rglob("*.py")
}
CORE = {"numpy", "pyarrow", "numba", "msgspec"}
DOORS = ("dangol.__main__", "dangol.cli", "dangol.bench", "dangol.demo")


def imports_of(path: Path) -> Iterator[str]:
    """All modules that a file imports, within functions too; type checkers' imports aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {id(node) for guard in ast.walk(tree) if _for_types(guard) for node in ast.walk(guard)}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield from (_module(node.module or "", alias.name) for alias in node.names)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _module(package: str, name: str) -> str:
    full = f"{package}.{name}"
    return full if full in MODULES else package


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def foreign(module: str) -> bool:
    top = module.partition(".")[0]
    return top != "dangol" and top not in sys.stdlib_module_names and top != "__future__"


def in_package(*packages: str) -> list[str]:
    return sorted(module for module in MODULES if within(module, *packages))


@pytest.mark.parametrize("module", in_package("dangol.core"))
def test_core_imports_only_core_and_errors_and_four_libraries(module: str) -> None:
    for name in imports_of(MODULES[module]):
        allowed = name.partition(".")[0] in CORE if foreign(name) else True
        if name.startswith("dangol"):
            allowed = within(name, "dangol.core", "dangol.errors")
        assert allowed, f"{module} imports {name}"


@pytest.mark.parametrize("module", in_package("dangol.adapters", "dangol.testing"))
def test_adapters_import_only_ports_core_errors_and_each_other(module: str) -> None:
    below = (
        "dangol.ports",
        "dangol.core",
        "dangol.errors",
        "dangol.adapters",
        "dangol.testing",
        "dangol.rules",
    )
    for name in imports_of(MODULES[module]):
        assert not name.startswith("dangol") or name == "dangol" or within(name, *below), (
            f"{module} imports {name}"
        )


@pytest.mark.parametrize("module", sorted(m for m in MODULES if not within(m, "dangol.serve", *DOORS)))
def test_nothing_needs_the_server_but_the_doors(module: str) -> None:
    for name in imports_of(MODULES[module]):
        assert not within(name, "dangol.serve"), f"{module} imports {name}"


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert readers <= {"dangol.config"}


def test_no_module_is_longer_than_the_wall() -> None:
    long = {m: n for m, p in MODULES.items() if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}
