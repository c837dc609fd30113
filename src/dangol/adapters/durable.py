"""Makes files last through a power cut: their bytes, and their names in the folder."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["sync_file", "sync_folder"]


def sync_file(descriptor: int, path: Path) -> None:
    """Sync a new file and the entry that its folder has for it."""
    os.fsync(descriptor)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync the entries of a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
