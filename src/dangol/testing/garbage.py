"""Makes NDJSON lines with everything wrong that senders get wrong, and mixes them into good ones.

A few kinds are only suspicious (a repeated key, half a surrogate in a description): whether such a line
is rejected is the parser's to say. What holds for each is that it is counted: law 4 of the design.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle

import numpy as np

__all__ = ["KINDS", "garbage_line", "garbage_lines", "mix"]

_HUGE = 10 << 20
_BLANK = (b"", b" ", b"\r", b"\t  ")


def _line(number: int, **changed: object) -> bytes:
    """Return a good line with some fields changed; `...` takes a field away."""
    fields: dict[str, object] = {
        "EventId": f"garbage-{number:09d}",
        "InvoiceNo": "536365",
        "StockCode": "85123A",
        "Description": "WHITE HEART",
        "Quantity": 6,
        "InvoiceDate": "2011-01-01T08:26:00",
        "UnitPrice": 2.55,
        "CustomerID": "17850",
        "Country": "United Kingdom",
    }
    kept = {name: value for name, value in (fields | changed).items() if value is not ...}
    return json.dumps(kept, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _raw(number: int, field: str, token: bytes) -> bytes:
    """Return a good line whose `field` is any bytes at all."""
    return _line(number, **{field: "@@"}).replace(b'"@@"', token)


_Maker = Callable[[int], bytes]

KINDS: dict[str, _Maker] = {
    "quantity_word": lambda n: _line(n, Quantity="six"),
    "quantity_fraction": lambda n: _line(n, Quantity=1.5),
    "quantity_list": lambda n: _line(n, Quantity=[1, 2]),
    "quantity_bool": lambda n: _line(n, Quantity=True),
    "quantity_huge": lambda n: _raw(n, "Quantity", b"9" * 400),
    "quantity_over_int64": lambda n: _raw(n, "Quantity", b"9223372036854775808"),
    "price_word": lambda n: _line(n, UnitPrice="free"),
    "price_object": lambda n: _line(n, UnitPrice={"amount": 2.55}),
    "price_nan": lambda n: _raw(n, "UnitPrice", b"NaN"),
    "price_nan_text": lambda n: _line(n, UnitPrice="nan"),
    "price_infinity": lambda n: _raw(n, "UnitPrice", b"-Infinity"),
    "price_infinity_text": lambda n: _line(n, UnitPrice="Infinity"),
    "price_overflow": lambda n: _raw(n, "UnitPrice", b"1e400"),
    "price_over_money": lambda n: _raw(n, "UnitPrice", b"1e300"),
    "price_missing": lambda n: _line(n, UnitPrice=...),
    "price_null": lambda n: _line(n, UnitPrice=None),
    "price_negative": lambda n: _line(n, UnitPrice=-2.55),
    "quantity_missing": lambda n: _line(n, Quantity=...),
    "invoice_missing": lambda n: _line(n, InvoiceNo=...),
    "product_missing": lambda n: _line(n, StockCode=...),
    "date_missing": lambda n: _line(n, InvoiceDate=...),
    "date_no_such_day": lambda n: _line(n, InvoiceDate="2011-02-30T08:26:00"),
    "date_word": lambda n: _line(n, InvoiceDate="yesterday"),
    "date_far": lambda n: _line(n, InvoiceDate="999999-01-01T00:00:00"),
    "date_zero": lambda n: _line(n, InvoiceDate="0000-00-00 00:00:00"),
    "all_missing": lambda n: b"{}",
    "bad_utf8": lambda n: _raw(n, "Description", b'"caf\xe9 \xff\xfe"'),
    "cut_utf8": lambda n: _raw(n, "Country", b'"\xed\x95"'),
    "bytes_of_a_surrogate": lambda n: _line(n, Description="\ud800"),
    "lone_surrogate": lambda n: _raw(n, "Description", b'"\\ud800 heart"'),
    "bad_escape": lambda n: _raw(n, "Description", b'"\\x41\\u12"'),
    "zeros": lambda n: bytes(64),
    "zero_within": lambda n: _raw(n, "Description", b'"WHITE\x00HEART"'),
    "control_within": lambda n: _raw(n, "StockCode", b'"85\x01\x1f23"'),
    "binary": lambda n: np.random.default_rng(n).bytes(200).replace(b"\n", b"").replace(b"\r", b"") + b"\xff",
    "truncated": lambda n: _line(n)[: 20 + n % 150],
    "no_brace": lambda n: _line(n)[1:],
    "single_quotes": lambda n: _line(n).replace(b'"', b"'"),
    "trailing_comma": lambda n: _line(n)[:-1] + b",}",
    "two_objects": lambda n: _line(n) + _line(n),
    "words": lambda n: b"this is no JSON at all",
    "csv": lambda n: b"536365,85123A,WHITE HEART,6,2010-12-01 08:26,2.55,17850,United Kingdom",
    "array": lambda n: b"[1,2,3]",
    "number": lambda n: b"42",
    "string": lambda n: b'"536365"',
    "null": lambda n: b"null",
    "plus_number": lambda n: _raw(n, "Quantity", b"+6"),
    "leading_zero": lambda n: _raw(n, "Quantity", b"007"),
    "hex_number": lambda n: _raw(n, "Quantity", b"0x10"),
    "object_bomb": lambda n: b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "array_bomb": lambda n: _raw(n, "Description", b"[" * 20_000 + b"]" * 20_000),
    "open_bomb": lambda n: b"[" * 100_000,
    "repeated_key": lambda n: _line(n)[:-1] + b',"Quantity":0}',
    "long_value": lambda n: _line(n, Description="x" * 300_000),
    "long_id": lambda n: _line(n, CustomerID="9" * 100_000),
    "long_key": lambda n: _line(n, **{"k" * 100_000: 1}),
    "many_keys": lambda n: _line(n, **{f"k{at}": at for at in range(2_000)}),
    "byte_order_mark": lambda n: b"\xef\xbb\xbf" + _line(n, Quantity=0),
    "carriage_returns": lambda n: b"\r{\r}\r",
}
"""Kind of garbage -> a line of it (without its line end), made from any number."""


def garbage_line(kind: str, number: int = 0) -> bytes:
    """Return one line of a kind, without its line end; "ten_megabytes" is a kind too."""
    if kind == "ten_megabytes":
        return _raw(number, "Description", b'"' + b"x" * _HUGE + b'"')
    return KINDS[kind](number)


def garbage_lines(n: int, seed: int, *, huge: int = 2) -> Iterator[bytes]:
    """Yield `n` lines of garbage without line ends, every kind in turn; up to `huge` of them have 10 MB."""
    rng = np.random.default_rng([seed, 9])
    kinds = list(KINDS)
    rng.shuffle(kinds)
    long = set(rng.choice(n, min(huge, n), replace=False).tolist()) if n else set()
    for at in range(n):
        yield garbage_line("ten_megabytes" if at in long else kinds[at % len(kinds)], seed * 1_000_000 + at)


def mix(
    chunks: Iterable[bytes], share: float, seed: int, *, huge: int = 2
) -> Iterator[tuple[bytes, int, int]]:
    """Put garbage between the lines of NDJSON `chunks`, so that it is about `share` of all lines.

    Yields (NDJSON, how many lines of it are the original ones, how many are garbage). A few blank lines
    stand between them too, in neither count: they are no events.
    """
    rng = np.random.default_rng([seed, 10])
    done = 0
    for chunk in chunks:
        lines = chunk.removesuffix(b"\n").split(b"\n")
        count = int(rng.binomial(len(lines), share / (1.0 - share)))
        places = np.sort(rng.integers(0, len(lines) + 1, count))[::-1]
        for place, line in zip(places.tolist(), garbage_lines(count, seed + done, huge=huge), strict=True):
            lines.insert(place, line)
        blank = rng.integers(0, len(lines) + 1, 1 + count // 50)
        for place, line in zip(np.sort(blank)[::-1].tolist(), cycle(_BLANK), strict=False):
            lines.insert(place, line)
        done += count
        huge = 0
        original = len(lines) - count - len(blank)
        yield b"\n".join(lines) + b"\n", original, count
