"""What evaluation alone would make, and what of it is made."""

from __future__ import annotations

from pathlib import Path

from medsafe_train import progress
from medsafe_train.artifacts import Store
from medsafe_train.config import Config, Engine
from medsafe_train.models import reference
from medsafe_train.plan import rows
from medsafe_train.preflight import alone, models, names
from medsafe_train.preflight import data as reading


def show(config: Config) -> None:
    """Print what would be asked of which model, and what is already answered; makes nothing, and asks no server."""
    names.check(config)
    store, device = Store(Path(config.outputs) / "artifacts"), reference.choose_device(config.device)
    data, m = reading.read_evaluated(config), config.model
    if m.engine is Engine.endpoint:
        arms, data = alone.served(m), alone.askable(m, data)
    else:
        arms = alone.loaded(config, store, device, make=False)
    judging = {name: models.judge(config, name, store, device, False) for name in models.judge_settings(config.judge)}
    where = f"behind {m.base_url}" if m.engine is Engine.endpoint else f"on {device}"
    table = rows.table(f"Plan for {m.path} {where}")
    for arm in arms.values():
        rows.fill(table, rows.of_arm(config, store, data, arm, judging))
    progress.console.print(table)
