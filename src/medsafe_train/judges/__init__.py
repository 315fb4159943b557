"""Who scores a response. Every judge returns verdicts of one shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from medsafe_train.judges import refusal

# name → (version, function from records with `id, prompt, response` to verdicts in the same order)
JUDGES: dict[str, tuple[int, Callable[[list[dict[str, Any]]], list[dict[str, Any]]]]] = {
    "refusal": (refusal.VERSION, refusal.judge),
}
