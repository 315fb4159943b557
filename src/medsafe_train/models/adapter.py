"""An adapter that is there already: checked against its base model without loading weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from medsafe_train import artifacts
from medsafe_train.config import UserError
from medsafe_train.models import reference
from medsafe_train.models.reference import ModelReference

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class AdapterFolder:
    """A folder that PEFT wrote, used as the artifact of a training is."""

    folder: Path
    id: str
    """a hash of its configuration and weights"""

    def path(self, name: str) -> Path:
        """Where the adapter lies, whatever it is called elsewhere."""
        return self.folder


def existing(folder: str, base: ModelReference) -> AdapterFolder:
    """The adapter in a folder; UserError where there is none, or one of another model."""
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"model.adapter={folder}: no such folder: give the one that holds {CONFIG}")
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            inner = next((found.parent for found in path.glob(f"*/{name}")), None)
            hint = f"did you mean {inner}?" if inner else "give the folder that PEFT's save_pretrained wrote"
            raise UserError(f"model.adapter={folder}: no {name} there: {hint}")
    if not reference.is_whole(path / WEIGHTS):
        raise UserError(f"{path / WEIGHTS} is cut short or no safetensors file: copy or download it again")
    _check_fits(path, base)
    try:
        settings = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{path / CONFIG} is cut short or no JSON: copy or download it again") from None
    # The configuration holds the base model's place on the machine where it was trained, which decides nothing.
    settings.pop("base_model_name_or_path", None)
    return AdapterFolder(path, artifacts.fingerprint([settings, artifacts.sha256(path / WEIGHTS)]))


def _check_fits(path: Path, base: ModelReference) -> None:
    """UserError where a module that the adapter changes is not in the base model, or of another width."""
    there = reference.tensor_shapes(base.folder)
    for name, (_, width) in _inputs(path).items() if there else ():
        shape = there.get(f"{name}.weight")
        if shape is None or shape[-1] != width:
            found = "has no such module" if shape is None else f"has {shape[-1]} inputs there, the adapter {width}"
            raise UserError(
                f"model.adapter={path} changes {name}, but {base.path} {found}: name the model that it was trained on"
            )


def _inputs(path: Path) -> dict[str, list[int]]:
    # lora_A is rank × inputs; PEFT wraps the model's own names.
    shapes = reference.shapes_in(path / WEIGHTS)
    suffix = ".lora_A.weight"
    return {
        name.removesuffix(suffix).removeprefix("base_model.model."): shape
        for name, shape in shapes.items()
        if name.endswith(suffix) and len(shape) == 2
    }
