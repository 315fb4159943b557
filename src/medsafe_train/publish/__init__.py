"""The checkpoint as it goes to the Hub: a folder with weights and model card, and, when asked for, the upload."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.config import PublishSettings, UserError
from medsafe_train.publish.card import readme

FOLDER = "checkpoint"


def write(folder: Path, report: dict[str, Any], made: Path, settings: PublishSettings, base_card: Path) -> Path:
    """The run's folder `checkpoint/`: `README.md`, and a link to each file of `made` (merged checkpoint or adapter).

    Links, because an artifact keeps its bytes and takes no second place on the disk; an upload follows them. `base_card` is
    where the base model's own card would lie, for its licence.
    """
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    for file in sorted(made.iterdir()):
        if file.is_file() and file.name != "README.md":
            link = target / file.name
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(file.resolve(), target.resolve()))
    merged = not (made / "adapter_config.json").exists()
    artifacts.write_text(target / "README.md", readme(report, merged, settings, base_card))
    return target


def check(settings: PublishSettings) -> None:
    """UserError, before anything else is done, where a push is asked for that the Hub would refuse: no name, no login."""
    if not settings.push_to_hub:
        return
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import validate_repo_id

    name = settings.hub_model_id or ""
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise UserError(f"publish.hub_model_id={name!r} is no name for a model on the Hub: write OWNER/NAME") from None
    if constants.HF_HUB_OFFLINE:
        raise UserError("publish.push_to_hub=true, but HF_HUB_OFFLINE is set: unset it, or push later from checkpoint/")
    if get_token() is None:
        raise UserError("publish.push_to_hub=true, but nobody is logged in: hf auth login, or set HF_TOKEN")
    try:
        HfApi().whoami()
    except HfHubHTTPError as error:
        raise UserError(
            f"the Hub does not take the login ({_line(error)}): hf auth login, or set HF_TOKEN anew"
        ) from None
    except Exception as error:  # its HTTP client's own, which is another with every major version
        raise UserError(
            f"publish.push_to_hub=true, but the Hub cannot be reached ({_line(error)}): check the network, or push later from "
            "checkpoint/"
        ) from None


def push(folder: Path, settings: PublishSettings, report: dict[str, Any]) -> None:
    """Upload what `write` wrote, card first checked by the Hub itself, unless the checkpoint's gate is enforced and stops it.

    Raises UserError where the Hub refuses; the run and its folder are whole by then.
    """
    if not settings.push_to_hub:
        return
    gate = report.get("gate")
    if gate and gate["enforced"] and gate["stops"]:
        return progress.warn(f"not pushed to the Hub: the gate is enforced, and the checkpoint is {gate['verdict']}")
    from huggingface_hub import HfApi, ModelCard

    assert settings.hub_model_id
    with progress.stage("publish", f"pushed to the Hub as {settings.hub_model_id}"):
        try:
            ModelCard.load(folder / "README.md").validate()
            made = HfApi().create_repo(settings.hub_model_id, private=settings.hub_private_repo, exist_ok=True)
            HfApi().upload_folder(
                repo_id=made.repo_id, folder_path=folder, commit_message=f"{report['name']} by medsafe_train"
            )
        except Exception as error:  # the Hub's own, a file's, or those of whatever HTTP client it has
            raise UserError(
                f"the Hub refused ({_line(error)}); the run is whole: hf upload {settings.hub_model_id} {folder}"
            ) from None
        progress.say(f"{made}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
