"""Reads and writes memory by address inside compiled loops, and searches bytes eight at a time.

Addresses come from arrays that the caller keeps alive; every loop is given the address where its bytes end
and reads no word across it. (Passing arrays between compiled functions costs more than these functions do.)
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]  # numba's own, it has no stubs
from numba import njit, types
from numba.extending import intrinsic

__all__ = [
    "WORD",
    "byte",
    "find_newline",
    "find_text_end",
    "has_high",
    "inner",
    "long",
    "same",
    "skip_blank",
    "word",
]
__all__ += ["put_byte", "put_int", "put_long", "put_word"]

WORD = 8
inner = partial(njit, cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Marks a function that only compiled functions call: compiling it takes half as long."""


_I = types.int64
_ONES = np.uint64(0x0101010101010101)
_HIGHS = np.uint64(0x8080808080808080)
_QUOTES = np.uint64(0x2222222222222222)
_SLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_SPACES = np.uint64(0x2020202020202020)
_NEWLINES = np.uint64(0x0A0A0A0A0A0A0A0A)


def _loader(bits: int, result: Any) -> Any:
    """Make the function that reads `bits` bits at an address, aligned or not."""

    @intrinsic  # type: ignore[untyped-decorator]
    def load(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            value = builder.load(place, align=1)
            return value if bits == result.bitwidth else builder.zext(value, ir.IntType(result.bitwidth))

        return result(types.int64), generate

    return load


def _storer(bits: int, given: Any) -> Any:
    """Make the function that writes the low `bits` bits of a value at an address."""

    @intrinsic  # type: ignore[untyped-decorator]
    def store(typing: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            low = args[1] if bits == given.bitwidth else builder.trunc(args[1], ir.IntType(bits))
            builder.store(low, place, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, given), generate

    return store


byte, long, word = _loader(8, types.int64), _loader(64, types.int64), _loader(64, types.uint64)
put_byte, put_int, put_long = _storer(8, types.int64), _storer(32, types.int64), _storer(64, types.int64)
put_word = _storer(64, types.uint64)


@intrinsic  # type: ignore[untyped-decorator]
def _first_hit(typing: Any, bits: Any) -> Any:
    """Count up to the lowest byte of `bits` that has a bit set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zeros = builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))
        return builder.lshr(zeros, ir.Constant(ir.IntType(64), 3))

    return types.int64(types.uint64), generate


@inner(_I(_I, _I))
def find_text_end(at, end):  # type: ignore[no-untyped-def]
    """Return the address of the first quote, backslash or control byte (or `end`)."""
    while at + WORD <= end:
        bits = word(at)
        quote, slash = bits ^ _QUOTES, bits ^ _SLASHES
        hit = ((quote - _ONES) & ~quote) | ((slash - _ONES) & ~slash) | ((bits - _SPACES) & ~bits)
        hit &= _HIGHS
        if hit != 0:
            return at + _first_hit(hit)
        at += WORD
    while at < end and byte(at) >= 32 and byte(at) != 34 and byte(at) != 92:
        at += 1
    return at


@inner(_I(_I, _I))
def find_newline(at, end):  # type: ignore[no-untyped-def]
    """Return the address of the first newline (or `end`)."""
    while at + WORD <= end:
        bits = word(at) ^ _NEWLINES
        hit = (bits - _ONES) & ~bits & _HIGHS
        if hit != 0:
            return at + _first_hit(hit)
        at += WORD
    while at < end and byte(at) != 10:
        at += 1
    return at


@inner(types.boolean(_I, _I))
def has_high(at, end):  # type: ignore[no-untyped-def]
    """Tell whether a byte beyond ASCII is there."""
    while at + WORD <= end:
        if word(at) & _HIGHS != 0:
            return True
        at += WORD
    while at < end and byte(at) < 128:
        at += 1
    return at < end


@inner(types.boolean(_I, _I, _I, _I))
def same(one, other, length, end):  # type: ignore[no-untyped-def]
    """Compare `length` bytes at `one` with those at `other`, an earlier address of the same memory."""
    if one + length + WORD > end:
        if one + length > end:
            return False
        while length > 0 and byte(one + length - 1) == byte(other + length - 1):
            length -= 1
        return length == 0
    while length >= WORD:
        if word(one) != word(other):
            return False
        one += WORD
        other += WORD
        length -= WORD
    mask = (np.uint64(1) << np.uint64(8 * length)) - np.uint64(1)
    return ((word(one) ^ word(other)) & mask) == 0


@inner(_I(_I, _I))
def skip_blank(at, end):  # type: ignore[no-untyped-def]
    """Return the address of the first byte that is not a space, a tab or a carriage return."""
    while at < end and (byte(at) == 32 or byte(at) == 9 or byte(at) == 13):
        at += 1
    return at
