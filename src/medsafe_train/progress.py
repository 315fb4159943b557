"""What a person sees while it runs: a line a stage, a bar in every long one, warnings."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from medsafe_train import energy

# Where output goes to a file, tables get the room they need.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 130)
# What each stage took, by its name: the run's timings.
seconds: dict[str, float] = {}
joules: dict[str, float] = {}
# What the running stage came by: artifacts that were there already, and others.
_met: set[bool] = set()


@contextmanager
def stage(name: str, what: str) -> Iterator[None]:
    """Say what a stage does with which input, and afterwards how long it took, or that all of it was there.

    The time is also kept in `seconds` under the stage's name, and in `joules` the energy where that is known.
    """
    heading(name, what)
    _met.clear()
    start, before = time.monotonic(), energy.read()
    yield
    took, spent = time.monotonic() - start, energy.taken(before)
    seconds[name] = seconds.get(name, 0.0) + took
    if spent is not None:
        joules[name] = joules.get(name, 0.0) + spent
    ended = "made before, read from disk" if _met == {True} else f"done in {duration(took)}"
    console.print(Text(f"{'':<15}{ended}", style="dim"))


def met(there: bool) -> None:
    """The running stage found an artifact there, or made it."""
    _met.add(there)


def bar(total: int, what: str, unit: str = "item", done: int = 0) -> Any:
    """A progress bar on standard error; where that is no terminal, a line every quarter of a minute at most.

    What was `done` before it begins is shown, and counts for nothing in the speed.
    """
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=done,
        desc=f"  {what}",
        unit=f" {unit}",
        leave=False,
        mininterval=0.2 if terminal else 15,
        delay=0 if terminal else 15,  # else every short one leaves its beginning in a log
        ncols=None if terminal else 90,
    )


def heading(name: str, what: str) -> None:
    """A line by itself under a name, such as a sweep's trial or a gate's verdict."""
    console.print(Text.assemble((f"{name:<14} ", "bold"), what))


def say(text: str) -> None:
    """A line that belongs to the running stage."""
    console.print(Text(f"{'':<15}{text}"))


def warn(text: str) -> None:
    """A warning, one line."""
    console.print(Text.assemble(("warning: ", "bold yellow"), text))


def quiet() -> None:
    """Keep libraries from talking over the stages: bars for loading shards, notices of deprecation."""
    import logging
    import warnings

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)


def duration(took: float) -> str:
    """A duration in words: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if took < 10:
        return f"{took:.1f} s"
    whole = round(took)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
