"""Settings of the process's memory, made once by whatever opens a data folder."""

from __future__ import annotations

import atexit
import gc

import pyarrow as pa

__all__ = ["settle"]

_settled = False


def settle() -> None:
    """Spare the collector what was imported, and let Arrow take memory where NumPy does.

    Walking the half million objects of the imports takes a tenth of a load's time; Arrow's own allocator
    held 35 MB more at the same rate.
    """
    global _settled
    gc.enable()  # the command line starts without it
    if _settled:
        return
    _settled = True
    pa.set_memory_pool(pa.system_memory_pool())
    gc.freeze()
    atexit.register(gc.unfreeze)
