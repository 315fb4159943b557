"""How freed memory is kept or given back."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside, memory that is freed stays with the process, on Linux with glibc; elsewhere nothing changes.

    glibc gives large blocks back at once and gets them again page by page, zeroed: a third of a training step's time on a
    CPU. Not for generation, whose growing caches would leave holes.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    m_trim_threshold, m_mmap_threshold, m_mmap_max = -1, -3, -4  # malloc.h
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
    try:
        yield
    finally:
        # Where glibc's own adjustment ends up with blocks of this size; it no longer adjusts once anything was set.
        libc.mallopt(m_mmap_max, 65536)
        libc.mallopt(m_mmap_threshold, 32 * 2**20)
        libc.mallopt(m_trim_threshold, 64 * 2**20)
        libc.malloc_trim(0)
