"""The energy of GPUs: what NVML's counters say of those in use, and nothing where they say nothing."""

import sys
from types import SimpleNamespace

import pytest

from medsafe_train import energy, progress


class NVMLError(Exception):
    pass


@pytest.fixture
def counters(monkeypatch):
    """Three GPUs' counters in millijoules, of which the second has none; torch uses the first."""
    millijoules = {0: 5_000, 1: None, 2: 70_000}

    def total(handle):
        if millijoules[handle] is None:
            raise NVMLError("Not Supported")
        return millijoules[handle]

    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 3,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}",
        nvmlDeviceGetTotalEnergyConsumption=total,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    in_use(monkeypatch, "0")
    return millijoules


def in_use(monkeypatch, *uuids):
    cuda = SimpleNamespace(
        is_initialized=lambda: bool(uuids),
        device_count=lambda: len(uuids) + 1,
        max_memory_allocated=lambda number: 100 if number < len(uuids) else 0,
        get_device_properties=lambda number: SimpleNamespace(uuid=[*uuids, "2"][number]),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))


def test_what_the_gpus_in_use_took_is_known(counters):
    before = energy.read()
    assert before == {"GPU-0": 5.0, "GPU-2": 70.0}
    counters[0] += 1_500
    counters[2] += 9_000
    assert energy.taken(before) == 1.5  # of the third nothing was taken, visible as it is


def test_a_stage_keeps_it_beside_its_time(counters, monkeypatch):
    monkeypatch.setattr(progress, "seconds", {})
    monkeypatch.setattr(progress, "joules", {})
    for _ in range(2):
        with progress.stage("finetune", "something"):
            counters[0] += 36_000
    assert progress.joules == {"finetune": 72.0} and "finetune" in progress.seconds


@pytest.mark.parametrize("uuids", [(), ("1",), ("0", "1")])
def test_it_is_not_guessed_where_a_gpu_in_use_has_no_counter(counters, monkeypatch, uuids):
    in_use(monkeypatch, *uuids)
    assert energy.taken(energy.read()) is None


def test_without_the_library_nothing_is_known_and_nothing_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(progress, "joules", {})
    assert energy.read() == {}
    with progress.stage("finetune", "something"):
        pass
    assert progress.joules == {}
