"""A GGUF file that a package carries, kept once as safetensors: loading takes 0.2 s instead of 20."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress


def made_from(path: str, file: Path) -> dict[str, Any]:
    """What decides the converted model."""
    return {"path": path, "gguf": artifacts.sha256(file), "version": 1}


def convert(store: artifacts.Store, path: str, file: Path) -> artifacts.Artifact:
    """The model in a GGUF file, its quantised weights restored to float32, as an artifact."""

    def build(folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        progress.quiet()
        with progress.stage("model", f"{path} from {file.name}, kept as safetensors"):
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            # Without `dequantize` the model can neither be saved nor trained.
            model = AutoModelForCausalLM.from_pretrained(
                file.parent,
                gguf_file=file.name,
                dtype=torch.float32,
                quantization_config=GgufConfig(dequantize=True),
            )
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

    return store.make("model", made_from(path, file), build)
