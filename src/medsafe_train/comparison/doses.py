"""How figures move with one setting: dose-response curves with intervals, one for each value of the other settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medsafe_train.comparison.front import value
from medsafe_train.comparison.trials import Trial

# Of several numbers that vary, the one that is a dose.
DOSE = "demonstrations.limit"
SHOWN = {
    "harmfulness": ("refusal_rate", "harmful_rate"),
    "over_refusal": ("refusal_rate",),
    "medical_qa": ("accuracy",),
}


@dataclass(frozen=True)
class Curve:
    """One figure against one setting, the other settings held."""

    setting: str
    figure: str
    """`kind/set/metric`"""
    held: str
    """the other settings in which the trials differ, as text"""
    points: list[dict[str, Any]]
    """`at, value, ci95, n` in rising order; of several seeds `sd` too, and `n` counts them"""

    def record(self) -> dict[str, Any]:
        """For compare.json."""
        return vars(self)


def setting(trials: list[Trial]) -> str | None:
    """The setting that is a dose: the demonstrations' limit where it varies, else the only number that does."""
    numbers = [
        key
        for key in (trials[0].settings if trials else {})
        if all(isinstance(t.settings[key], int | float) and not isinstance(t.settings[key], bool) for t in trials)
    ]
    if DOSE in numbers:
        return DOSE
    return numbers[0] if len(numbers) == 1 else None


def curves(trials: list[Trial]) -> list[Curve]:
    """A curve for each figure and each value of the other settings that has two doses at least."""
    at = setting(trials)
    if at is None:
        return []
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        held = ", ".join(f"{key}={held}" for key, held in trial.settings.items() if key != at)
        groups.setdefault(held, []).append(trial)
    places = dict.fromkeys(key.partition("/")[2] for trial in trials for key in trial.figures)
    found = []
    for place in places:
        kind, _, metric = place.split("/")
        if metric not in SHOWN.get(kind, ()):
            continue
        for held, same in groups.items():
            points = [{"at": t.settings[at], **figure} for t in same if (figure := value(t.figures, place))]
            points = [point for point in points if point["value"] is not None]
            if len({point["at"] for point in points}) > 1:
                found.append(Curve(at, place, held, sorted(points, key=lambda point: point["at"])))
    return found
