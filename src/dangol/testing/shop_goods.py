"""What the generated shop sells and where its customers live: word lists, prices, countries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["COUNTRIES", "COUNTRY_SHARES", "THEMES", "Goods", "make_goods"]

COUNTRIES = (
    "United Kingdom",
    "Germany",
    "France",
    "EIRE",
    "South Korea",
    "Spain",
    "Netherlands",
    "Belgium",
    "Portugal",
    "Australia",
    "Japan",
    "Channel Islands",
)
COUNTRY_SHARES = (0.86, 0.03, 0.03, 0.02, 0.02, 0.01, 0.008, 0.007, 0.005, 0.004, 0.003, 0.003)

THEMES: dict[str, tuple[str, ...]] = {
    "christmas": ("BAUBLE", "WREATH", "STOCKING", "TREE STAR", "ADVENT CALENDAR", "GIFT TAG", "GARLAND"),
    "garden": (
        "WATERING CAN",
        "PLANT POT",
        "BIRD FEEDER",
        "GARDEN LANTERN",
        "TROWEL",
        "HERB BOX",
        "WINDMILL",
    ),
    "kitchen": ("MUG", "TEAPOT", "CAKE STAND", "APRON", "RECIPE TIN", "EGG CUP", "OVEN GLOVE", "JAM JAR"),
    "party": ("BUNTING", "PAPER CUP", "BALLOON SET", "CANDLE", "NAPKIN PACK", "PARTY HAT", "CAKE TOPPER"),
    "paper": ("NOTEBOOK", "WRAPPING PAPER", "BIRTHDAY CARD", "PENCIL SET", "STICKER SHEET", "MEMO BLOCK"),
    "bags": ("JUMBO BAG", "LUNCH BAG", "SHOPPER", "PURSE", "WASH BAG", "RUCKSACK", "KEY FOB"),
    "light": ("T-LIGHT HOLDER", "STRING LIGHTS", "LAMP SHADE", "LANTERN", "NIGHT LIGHT", "CANDLESTICK"),
    "bath": ("SOAP DISH", "BATH SALTS", "HAND TOWEL", "HOT WATER BOTTLE", "MIRROR", "TOOTHBRUSH CUP"),
    "toys": ("JIGSAW", "SKIPPING ROPE", "SPINNING TOP", "DOLL", "WOODEN TRAIN", "PAINT SET", "DOMINOES"),
    "한국": (
        "도자기 머그",
        "한지 등",
        "자개 보석함",
        "모시 앞치마",
        "놋 수저",
        "보자기",
        "다기 세트",
        "부채",
    ),
}
_COLOURS = ("RED", "WHITE", "BLUE", "PINK", "GREEN", "IVORY", "SILVER", "GOLD", "BLACK", "NATURAL")
_STYLES = (
    "VINTAGE",
    "RETROSPOT",
    "HEART",
    "FLORAL",
    "POLKADOT",
    "WOODEN",
    "ENAMEL",
    "SMALL",
    "LARGE",
    "SET OF 6",
)
_KOREAN_COLOURS = ("빨간", "하얀", "파란", "분홍", "초록", "옥색", "먹빛", "금빛")
_KOREAN_STYLES = ("전통", "작은", "큰", "꽃무늬", "나무", "손으로 만든")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods:
    """The catalogue, one row a product; the products of a theme stand together, the favourites first."""

    codes: pa.Array
    names: pa.Array
    pence: NDArray[np.int64]
    per_theme: int


def make_goods(products: int, seed: int) -> Goods:
    """Draw a catalogue of about `products` products, the same number in each theme."""
    rng = np.random.default_rng([seed, 0])
    per_theme = max(products // len(THEMES), 1)
    names = [name for theme in THEMES for name in _names(theme, per_theme, rng)]
    codes = [f"{20000 + at}{'ABCDEF'[at % 6] if at % 5 == 0 else ''}" for at in range(len(names))]
    pence = np.maximum(np.rint(np.exp(rng.normal(5.4, 0.8, len(names)))), 12).astype(np.int64)
    return Goods(codes=pa.array(codes), names=pa.array(names), pence=pence, per_theme=per_theme)


def _names(theme: str, count: int, rng: np.random.Generator) -> list[str]:
    korean = theme == "한국"
    lists = (_KOREAN_COLOURS if korean else _COLOURS, _KOREAN_STYLES if korean else _STYLES, THEMES[theme])
    drawn: list[Any] = [rng.integers(0, len(words), count) for words in lists]
    return [
        " ".join(words[at] for words, at in zip(lists, place, strict=True))
        for place in zip(*drawn, strict=True)
    ]
