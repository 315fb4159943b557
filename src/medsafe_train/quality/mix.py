"""How much of each kind of demonstration is trained on."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from medsafe_train.config import MixSettings, UserError


def mixed(records: list[dict[str, Any]], mix: MixSettings, seed: int) -> list[dict[str, Any]]:
    """The demonstrations in the proportions of the mix: of each kind its share, chosen by a hash, or repeated."""
    shares = asdict(mix)
    found = []
    for kind in shares:
        group = [record for record in records if record["kind"] == kind]
        whole, rest = divmod(round(shares[kind] * len(group)), len(group) or 1)
        order = sorted(group, key=lambda r: hashlib.sha256(f"{seed}\nmix\n{r['id']}".encode()).hexdigest())
        chosen = {record["id"] for record in order[:rest]}
        found += group * whole + [record for record in group if record["id"] in chosen]
    if not found:
        raise UserError("finetune.mix leaves nothing to train on: raise a share above 0")
    return found
