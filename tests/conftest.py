"""Fixtures of the whole suite."""

from __future__ import annotations

from pathlib import Path

import pytest

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "online-retail.parquet"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The UCI Online Retail parquet file; the test is skipped where it is not there."""
    if not REAL_DATA.exists():
        pytest.skip(f"the real data is not at {REAL_DATA.parent.name}/{REAL_DATA.name} beside the checkout")
    return REAL_DATA
