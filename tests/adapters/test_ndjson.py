"""The NDJSON parser against a plain reader built on Python's json, line by line."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dangol.adapters.ndjson import parse_json_body, parse_ndjson
from dangol.core.schema import FAULTS, LineBlock
from dangol.errors import TooLarge, UsageError

FIELDS = ("a", "Quantity", "국가", "longer name of a field")
MAX_LINE = 4000


class Written(str):
    """A number as it was written."""


def no_constant(name: str) -> None:
    raise ValueError(name)


def written(text: str) -> Written:
    text = re.sub(r"^(-?\d+)\.0+$", r"\1", text)
    return Written("0" if text == "-0" else text)


def depth(text: str) -> int:
    """How deep brackets nest outside of texts, whether or not the line is JSON."""
    bare = re.sub(r'"(\\.|[^"\\])*("|$)', "", text, flags=re.DOTALL)
    now = deepest = 0
    for letter in bare:
        now += (letter in "[{") - (letter in "]}")
        deepest = max(deepest, now)
    return deepest


def has_half_pair(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_half_pair(key) or has_half_pair(item) for key, item in value.items())
    if isinstance(value, list):
        return any(has_half_pair(item) for item in value)
    return isinstance(value, str) and bool(re.search("[\ud800-\udfff]", value))


def read(line: bytes) -> tuple[str, str, list[str | None]]:
    """Fault, field at fault, texts."""
    nothing: list[str | None] = [None] * len(FIELDS)
    if len(line) > MAX_LINE:
        return "line_too_long", "", nothing
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "not_utf8", "", nothing
    if depth(text) > 64:
        return "too_deep", "", nothing
    try:
        value = json.loads(text, parse_int=written, parse_float=written, parse_constant=no_constant)
    except ValueError:
        return "not_json", "", nothing
    if has_half_pair(value):
        return "not_json", "", nothing
    if not isinstance(value, dict):
        return "not_an_object", "", nothing
    nested = [name for name in FIELDS if isinstance(value.get(name), (dict, list))]
    if nested:
        return "nested_value", nested[0], nothing
    words = {True: "true", False: "false", None: None}
    return "", "", [v if isinstance(v := value.get(name), str) else words[v] for name in FIELDS]


def expected(data: bytes) -> list[tuple[int, bytes, tuple[str, str, list[str | None]]]]:
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    whole = [
        (number, line.removesuffix(b"\r")) for number, line in enumerate(lines, 1) if line.strip(b" \t\r")
    ]
    return [(number, line, read(line)) for number, line in whole]


def told(block: LineBlock) -> list[tuple[int, bytes, tuple[str, str, list[str | None]]]]:
    block.fields.validate(full=True)
    rows = block.fields.to_pylist()
    return [
        (
            block.raw.line_number(row),
            block.raw.text(row),
            (FAULTS[block.fault[row]], block.fault_field.get(row, ""), list(rows[row].values())),
        )
        for row in range(len(block))
    ]


names = st.sampled_from([*FIELDS, "b", "x" * 30]) | st.text(max_size=9)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.sampled_from([6.0, -0.0, 1e300])
    | st.text(max_size=20)
    | st.text(st.sampled_from('"\\/\b\f\n\r\t \ud83d\ude00é가😀x'), max_size=12)
)
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(names, scalars, max_size=2)
deep = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)
)
objects = st.dictionaries(names, values, max_size=6)


@st.composite
def written_objects(draw: st.DrawFn) -> bytes:
    pairs = draw(st.lists(st.tuples(names, scalars | values | deep), max_size=6))
    ascii_only = draw(st.booleans())
    colon, comma = draw(st.sampled_from([(":", ","), (": ", ", "), (" :\t", " , ")]))
    body = comma.join(
        json.dumps(key, ensure_ascii=ascii_only) + colon + json.dumps(value, ensure_ascii=ascii_only)
        for key, value in pairs
    )
    return ("{" + body + "}").encode("utf-8", "surrogatepass")


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    line = bytearray(draw(written_objects()))
    place = draw(st.integers(0, len(line)))
    line[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(line)


nasty = st.sampled_from(
    [
        b"",
        b"  \t",
        b"\r",
        b"[" * 70,
        b'{"a":' * 65,
        b'{"a":1}garbage',
        b'{"a":01}',
        b'{"a":1.}',
        b'{"a":-}',
        b'{"a":1e}',
        b'{"a":1E+2, "Quantity": -0}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":nul}',
        b'{"a":true}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\ud83d\\ude00\\u00e9"}',
        b'{"b":"\\ud800"}',
        b'{"a":"\\x"}',
        b'{"a":1,"a":"2"}',
        b'{"a":[1],"a":"2"}',
        b'{"\\u0061":"escaped key"}',
        b'{"a":"x' + b"y" * MAX_LINE + b'"}',
        b"{}",
        b"null",
        b'"text"',
        b"\xff",
        b'{"a":"\xed\xa0\x80"}',
        b'{"b":' + b'{"c":[' * 31 + b"7" + b"]}" * 31 + b',"a":1}',
        b'{"b":' + b'{"c":[' * 32 + b"7" + b"]}" * 32 + b',"a":1}',
        b'{"b":[1,],"a":1}',
        b'{"b":[1 2],"a":1}',
        b'{"b":{"x"},"a":1}',
        b'{"b":{"x":1]},"a":1}',
        b'{"b":[ [] , {} , {"x":[{"y":null}],"z":-1.5e3} ],"a":1}',
        b'{"a":6.000,"Quantity":0.0,"longer name of a field":-12.50}',
    ]
)
lines = st.lists(
    written_objects() | written_objects() | damaged() | nasty | st.binary(max_size=30), max_size=8
)


@settings(max_examples=300, deadline=None)
@given(lines, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.booleans())
@example([b'{"a":1}', b'{"a":"\xff"}', b'{"a":"\xea\xb0\x80"}'], b"\n", True, True)
def test_both_lanes_together_read_what_a_plain_reader_reads(
    parts: list[bytes], ending: bytes, ends: bool, mark: bool
) -> None:
    data = b"\xef\xbb\xbf" * mark + ending.join(parts) + ending * ends
    assert told(parse_ndjson(data, FIELDS, max_line_bytes=MAX_LINE)) == expected(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_at_all_are_read(data: bytes) -> None:
    assert told(parse_ndjson(data, FIELDS, max_line_bytes=MAX_LINE)) == expected(data)


@settings(max_examples=50, deadline=None)
@given(lines)
def test_a_view_of_memory_is_read_like_bytes(parts: list[bytes]) -> None:
    data = b"\n".join(parts)
    whole = parse_ndjson(memoryview(data), FIELDS, max_line_bytes=MAX_LINE)
    assert told(whole) == told(parse_ndjson(data, FIELDS, max_line_bytes=MAX_LINE))


def test_many_lines_of_one_shape_are_read_in_order() -> None:
    data = b"".join(b'{"a":"%d","b":[],"Quantity":%d.0}\n' % (i, -i) for i in range(5000))
    block = parse_ndjson(data, FIELDS)
    assert block.fields.column("a").to_pylist() == [str(i) for i in range(5000)]
    assert block.fields.column("Quantity").to_pylist() == [str(-i) for i in range(5000)]
    assert not block.fault.any()


def test_keys_may_change_their_order_from_line_to_line() -> None:
    block = parse_ndjson(b'{"a":1,"Quantity":2}\n{"Quantity":3,"a":4}\n{"a":5}', FIELDS)
    assert block.fields.column("a").to_pylist() == ["1", "4", "5"]
    assert block.fields.column("Quantity").to_pylist() == ["2", "3", None]


def test_a_bomb_of_brackets_is_told_as_too_deep() -> None:
    block = parse_ndjson(b"[" * 1_000_000 + b"\n" + b'{"a":' * 200_000, FIELDS)
    assert [FAULTS[fault] for fault in block.fault] == ["too_deep", "too_deep"]


def test_a_line_of_ten_million_bytes_is_told_as_too_long() -> None:
    block = parse_ndjson(b'{"a":"' + b"x" * 10_000_000 + b'"}\n{"a":1}\n', FIELDS)
    assert [FAULTS[fault] for fault in block.fault] == ["line_too_long", ""]


def test_more_bytes_than_can_be_read_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dangol.adapters.ndjson.MAX_BYTES", 10)  # instead of a gigabyte
    with pytest.raises(TooLarge, match="send parts"):
        parse_ndjson(b'{"a":"long"}', FIELDS)


@settings(max_examples=100, deadline=None)
@given(st.lists(objects, max_size=4), st.sampled_from([None, 1]), st.booleans())
def test_an_array_is_read_like_its_elements_as_lines(
    items: list[Any], indent: int | None, ascii_only: bool
) -> None:
    items = [item for item in items if not has_half_pair(item) and "NaN" not in json.dumps(item)]
    items = [item for item in items if "Infinity" not in json.dumps(item)]
    body = json.dumps(items, indent=indent, ensure_ascii=ascii_only).encode()
    flat = "\n".join(json.dumps(item) for item in items).encode()
    texts = [line[2] for line in told(parse_json_body(body, FIELDS))]
    assert texts == [line[2] for line in told(parse_ndjson(flat, FIELDS))]


def test_an_object_over_several_lines_is_one_line() -> None:
    block = parse_json_body(b'\n{\n "a": 6.0\n}\r\n', FIELDS)
    assert block.fields.column("a").to_pylist() == ["6"]


def test_an_element_that_is_no_object_is_a_fault_of_its_own() -> None:
    block = parse_json_body(b'[{"a":1}, 7, {"a":{}}]', FIELDS)
    assert [FAULTS[fault] for fault in block.fault] == ["", "not_an_object", "nested_value"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b'[{"a":1},]',
        b'[{"a":1},,{"a":2}]',
        b'[{"a":1}] x',
        b'{"a":1}{"a":2}',
        b'{"a":NaN}',
        b'[{"a":"\\ud800"}]',
        b'[{"a":"\xff"}]',
        b'[{"a":"two\nlines"}]',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_a_body_that_is_not_json_is_refused_whole(body: bytes) -> None:
    with pytest.raises(UsageError, match="body"):
        parse_json_body(body, FIELDS)
