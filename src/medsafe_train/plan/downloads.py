"""What a run would download."""

from __future__ import annotations

from pathlib import Path

from medsafe_train.config import Config
from medsafe_train.models import reference
from medsafe_train.models.reference import ModelReference
from medsafe_train.sources import descriptions, prompt_sets, read


def find(config: Config, models: list[ModelReference]) -> list[str]:
    """Models and data that are not here yet, a line each."""
    found = []
    for model in models:
        if not Path(model.folder).is_dir() and model.path == model.folder and not _is_cached(model):
            size = reference.size_of(model)
            found.append(f"model {model.path}" + (f", about {2 * size / 1e9:.1f} GB" if size else ""))
    d, e = config.demonstrations, config.evaluation
    named = {(name, part) for s, part in ((d, "train"), (e, "test")) for name in [*s.harmful, *s.benign]}
    named |= {(name, "train") for name in d.replay}
    locations = [
        (name, prompt_sets.published(name).parts.get(part))
        for name, part in sorted(named)
        if not prompt_sets.is_file(name)
    ]
    for name in descriptions.expanded(config.medical_qa.benchmarks):
        known = descriptions.published(name)
        locations += [(name, known.where), (name, known.ids)]
        if config.medical_qa.shots and isinstance(known.shots, read.Location):
            locations.append((name, known.shots))
    for name, location in locations:
        if location is None:
            continue
        places = read.locate(location, config.data_folder)
        missing = [
            p for p in places if p.startswith("hub:") or (p.startswith("https://") and not read.cached(p).is_file())
        ]
        if missing:
            found.append(
                f"data {name}: {len(missing)} file{'s' * (len(missing) > 1)} ({missing[0]}{', …' * (len(missing) > 1)})"
            )
    return found


def _is_cached(model: ModelReference) -> bool:
    try:
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(model.path, revision=model.revision or None, local_files_only=True))
        return any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))
    except Exception:
        return False
