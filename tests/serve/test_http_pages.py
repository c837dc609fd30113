"""The pages: complete without any other machine, and every word in both languages."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

import dangol.serve

STATIC = Path(dangol.serve.__file__).parent / "static"


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.assets: list[str] = []
        self.words: set[str] = set()
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.assets += [
            str(values[k]) for k in ("src", "href") if k in values and tag in ("script", "link", "img")
        ]
        self.words |= {str(values[k]) for k in ("data-t", "data-t-label") if k in values}
        self.inline += [name for name in values if name.startswith("on") or name == "style"]


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_a_page_and_all_it_loads_come_from_this_server(client: httpx.Client, page: str) -> None:
    links = Links()
    links.feed(client.get(page).text)
    assert links.assets and not links.inline
    for asset in links.assets:
        assert asset.startswith("/static/")
        assert client.get(asset).status_code == 200


def test_no_file_of_the_page_names_another_machine() -> None:
    for path in STATIC.iterdir():
        named = re.findall(r"https?://[^\s\"'`]+", path.read_text(encoding="utf-8"))
        assert [name for name in named if not name.startswith("http://www.w3.org/")] == [], path.name


def test_every_word_is_there_in_korean_and_in_english() -> None:
    links = Links()
    links.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    words = (STATIC / "words.js").read_text(encoding="utf-8")
    korean, english = words.partition("export let")[0].split("  en: {")
    keys = [set(re.findall(r"(?:^|[{,])\s*(\w+):\s*\"", part, re.MULTILINE)) for part in (korean, english)]
    used = links.words | set(re.findall(r"\bt\(\"(\w+)\"", (STATIC / "live.js").read_text(encoding="utf-8")))
    assert keys[0] == keys[1] and used <= keys[0]


def test_unchanged_files_are_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/static/live.js")
    again = client.get("/static/live.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, first.headers["cache-control"]) == (304, "no-cache")
