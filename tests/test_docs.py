"""The pages tell the truth: their commands run, their links lead somewhere, both languages say the same."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from click.testing import CliRunner

from dangol.core.cleanse import BROKEN, NOT_MATCHED
from dangol.core.schema import FAULTS
from dangol.serve.cli import cli

ROOT = Path(__file__).resolve().parents[1]
ENGLISH, KOREAN = ROOT / "README.md", ROOT / "README.ko.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXTS = {".py", ".md", ".js", ".css", ".html", ".svg", ".sh", ".toml", ".json", ".asaql", ".sql", ".txt", ""}
IN_ENGINE = {"time_in_the_future", "conflict_with_earlier_event", "customer_was_erased"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return [body for name, body in FENCE.findall(text_of(page)) if name == language]


def console(page: Path, word: str) -> str:
    """Return the one console block that holds a word."""
    (found,) = (block for block in blocks(page, "console") if word in block)
    return found


def commands(block: str) -> list[list[str]]:
    """Return what follows each `$`, as a shell would split it; output lines are left out."""
    found = []
    for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = command.splitlines()
        for count in range(1, len(lines) + 1):
            with contextlib.suppress(ValueError):  # a quotation that goes on in the next line
                found.append(shlex.split("\n".join(lines[:count]), comments=True))
                break
        else:
            pytest.fail(f"a quotation does not end: {command}")
    return found


def table_reasons() -> set[str]:
    """Return the reasons of the tables in docs/cleanse.md."""
    section = text_of(ROOT / "docs" / "cleanse.md").partition("## Reasons")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {reason for row in rows for reason in re.findall(r"`(\w+)`", row)}


def run(arguments: list[str]) -> str:
    result = CliRunner().invoke(cli, arguments[1:])
    assert result.exit_code == 0, f"{shlex.join(arguments)}: {result.stderr}"
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own, with the data folder that commands use there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DANGOL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DANGOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DANGOL_PORT", "0")
    return tmp_path


@pytest.fixture
def shop(folder: Path) -> Path:
    """The folder with the shop.parquet that the README generates."""
    generate = commands(console(ENGLISH, "dangol data generate"))[0]
    run(generate)
    return folder


class Server:
    """`dangol serve` as its own process, and requests to it written as curl commands."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stderr is not None
        self.url = self._address(process.stderr)

    @staticmethod
    def _address(lines: IO[str]) -> str:
        for line in lines:
            if found := re.search(r"Serving (http://\S+) ", line):
                return found[1]
        pytest.fail("the server ended before it listened")

    def curl(self, arguments: list[str]) -> httpx.Response:
        """Send what `curl ARGUMENTS` would."""
        method, body, headers, address = "", None, {}, ""
        rest = iter(arguments)
        for argument in rest:
            if argument == "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value
            elif argument in ("-d", "--data-binary"):
                body = next(rest)
                body = Path(body[1:]).read_text(encoding="utf-8") if body.startswith("@") else body
            elif argument == "-X":
                method = next(rest)
            else:
                address = argument
        path = address.removeprefix("localhost:8787")
        assert path != address, f"{address} is no address of this server"
        method = method or ("GET" if body is None else "POST")
        if path.endswith("/stream"):
            with httpx.stream(method, self.url + path, timeout=20) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                return answer
        return httpx.request(method, self.url + path, content=body, headers=headers, timeout=20)


@contextlib.contextmanager
def process_of(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a command that does not end by itself; it is killed at the latest with the test."""
    command = [sys.executable, "-m", "dangol", *arguments[1:]]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with process_of(["dangol", "serve"]) as process:
        yield Server(process)


def test_the_commands_of_the_readme_run_in_order(folder: Path) -> None:
    answers = [run(command) for command in commands(console(ENGLISH, "dangol data generate"))]
    assert len(answers) == 7
    assert (folder / "dormant.csv").stat().st_size > 0


def test_the_http_commands_of_the_readme_run_in_order(shop: Path, server: Server) -> None:
    serve, *requests, replay = commands(console(ENGLISH, "dangol serve"))
    assert serve == ["dangol", "serve"]
    for command in requests:
        assert command[0] == "curl"
        assert server.curl(command[1:]).status_code == 200, command
    with process_of([part.replace("http://localhost:8787", server.url) for part in replay]) as sending:
        while httpx.get(f"{server.url}/v1/status").json()["events"] < 100:
            assert sending.poll() is None, sending.stderr and sending.stderr.read()
        sending.send_signal(signal.SIGINT)
        assert sending.wait(20) == 130
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0


def test_the_python_of_the_readme_runs(shop: Path) -> None:
    (program,) = blocks(ENGLISH, "python")
    names: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), names)
    assert names["table"].num_rows > 0
    assert (shop / "my-shop").is_dir()


def test_the_make_doors_of_the_readme_exist() -> None:
    doors = re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE)
    wanted = [command[1] for command in commands(console(ENGLISH, "make demo"))]
    assert wanted
    assert set(wanted) <= set(doors)


def test_the_commands_and_answers_of_the_http_page_are_true(folder: Path, server: Server) -> None:
    page = ROOT / "docs" / "http.md"
    line = {"InvoiceNo": "1", "StockCode": "A", "Quantity": 1, "InvoiceDate": "2011-12-09T12:00:00"}
    line |= {"UnitPrice": 2.55, "CustomerID": "14305"}
    lines = [line | {"EventId": str(n), "UnitPrice": "two" if n == 2 else 2.55} for n in (1, 2, 3)]
    Path("lines.ndjson").write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    block = console(page, "lines.ndjson")
    shown = json.loads(block[block.index("\n{") :])
    assert server.curl(commands(block)[0][1:]).json() == shown | {"batch": 1}
    too_large = httpx.post(f"{server.url}/v1/events", content=b" " * ((16 << 20) + 1), timeout=20)
    assert too_large.json() == json.loads(blocks(page, "json")[0])
    for command in commands(console(page, "simulator/start")):
        assert server.curl(command[1:]).is_success, command


def test_the_pages_name_every_reason_and_no_other() -> None:
    rules = text_of(ROOT / "src" / "dangol" / "rules" / "cleanse.asaql")
    in_rules = set(re.findall(r"THEN '(\w+)'", rules.partition("END AS reason")[0]))
    assert table_reasons() == in_rules | (set(FAULTS) - {""}) | {BROKEN, NOT_MATCHED} | IN_ENGINE
    shown = {name for page in PAGES for name in re.findall(r'"reason": ?"(\w+)"', text_of(page))}
    assert shown
    assert shown <= table_reasons()


def test_both_readmes_hold_the_same_code() -> None:
    def code(page: Path) -> list[tuple[str, str]]:
        return [(name, re.sub(r" +# .*", "", body)) for name, body in FENCE.findall(text_of(page))]

    assert code(ENGLISH) == code(KOREAN)
    assert len(code(ENGLISH)) >= 4


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text_of(page)))


def test_both_readmes_hold_the_same_links() -> None:
    english, korean = (
        [link for link in links(page) if not link.startswith("README")] for page in (ENGLISH, KOREAN)
    )
    assert english == korean
    assert "README.ko.md" in links(ENGLISH)
    assert "README.md" in links(KOREAN)


@pytest.mark.parametrize("mark", [r"#+ ", r"\|", r"\d+\. ", r"- ", r"    "])
def test_both_readmes_have_the_same_headings_and_rows(mark: str) -> None:
    english, korean = (
        re.findall(rf"^{mark}", FENCE.sub("", text_of(page)), re.M) for page in (ENGLISH, KOREAN)
    )
    assert english == korean


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    inside = (link.partition("#")[0] for link in links(page) if "://" not in link)
    assert [link for link in inside if link and not (page.parent / link).exists()] == []


def test_every_page_is_reached_from_both_readmes() -> None:
    for readme in (ENGLISH, KOREAN):
        ways = {(readme.parent / link).resolve() for link in links(readme)}
        pages = [page for page in (ROOT / "docs").rglob("*.md") if not {page, page.parent} & ways]
        assert pages == []


def test_the_names_of_the_glossary_are_names_of_the_code() -> None:
    names = re.findall(r"^\| ([^|]*`[^|]*) \|", text_of(ROOT / "docs" / "glossary.md"), re.MULTILINE)
    code = "\n".join(text_of(path) for path in (ROOT / "src").rglob("*.py"))
    wanted = [name for row in names for name in re.findall(r"`(\w+)`", row)]
    assert wanted
    assert [name for name in wanted if not re.search(rf"\b{name}\b", code)] == []


def committed() -> Iterator[Path]:
    """Return the project's text files: what lies in its folders, what tools put there aside."""
    tops = ["src", "tests", "docs", "benchmarks", "scripts", ".ci"]
    inside = (path for top in tops for path in (ROOT / top).rglob("*") if "__pycache__" not in path.parts)
    for path in [*ROOT.iterdir(), *inside]:
        if path.is_file() and path.suffix in TEXTS:
            yield path


def test_no_text_names_a_package_registry_or_a_path_of_one_machine() -> None:
    hosts = [name.replace("_", ".") for name in ("pypi_org", "npmjs_", "crates_io", "pythonhosted_org")]
    paths = [f"/{name}/" for name in ("work", "home", "root", "Users")]
    anywhere = re.compile("|".join([*map(re.escape, hosts), rf"(?<![\w./}}])(?:{'|'.join(paths)})"]))
    in_pages = re.compile(anywhere.pattern + f"|/{'tmp'}/")
    found = [
        f"{path.relative_to(ROOT)}: {hit[0]}"
        for path in committed()
        for hit in (in_pages if path.suffix == ".md" else anywhere).finditer(text_of(path))
    ]
    assert found == []


def test_the_picture_of_the_readme_is_small() -> None:
    picture = ROOT / "docs" / "images" / "live.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 300_000
