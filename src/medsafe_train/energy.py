"""The energy that the GPUs in use take, as their own counters have it (NVML; Volta and newer), where nvidia-ml-py is installed."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any


def read() -> dict[str, float]:
    """Joules that each NVIDIA GPU of this machine has taken since its driver was loaded, by its UUID; empty where none says so."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # no library, no driver, no GPU: each has an error class of its own, and none matters to a run
        return {}
    found = {}
    for handle in handles:
        with suppress(pynvml.NVMLError):  # an older card, or a part of one (MIG)
            found[pynvml.nvmlDeviceGetUUID(handle)] = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
    return found


def taken(before: dict[str, float]) -> float | None:
    """Joules since `before` of the GPUs that this process uses, whatever else ran on them; None where that is not known."""
    used, now = _in_use(), read()
    known = bool(used) and used <= before.keys() & now.keys()
    return sum(now[gpu] - before[gpu] for gpu in used) if known else None


def _in_use() -> set[str]:
    torch: Any = sys.modules.get("torch")  # loading it takes seconds, and what has not been loaded uses no GPU
    if torch is None or not torch.cuda.is_initialized():
        return set()
    used = [n for n in range(torch.cuda.device_count()) if torch.cuda.max_memory_allocated(n)]
    return {f"GPU-{torch.cuda.get_device_properties(n).uuid}" for n in used}
