"""Loads a base model with or without an adapter, one at a time, and checks what would silently go wrong."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsafe_train import progress, prompts
from medsafe_train.config import UserError
from medsafe_train.models.reference import ModelReference


@dataclass(frozen=True)
class Loaded:
    """A model ready to answer, with its tokenizer."""

    model: Any
    tokenizer: Any
    stop_ids: tuple[int, ...]
    biases: tuple[tuple[Any, Any], ...] = ()
    """layers whose bias an adapter has put its own in place of, and their base's: switching it off does not bring them back"""


# The model that was loaded last: stages that follow each other share it, and there is never a second one in memory.
_last: dict[tuple[ModelReference, Path | None, float | None], Loaded] = {}


def load(reference: ModelReference, adapter: Path | None = None, merged_at: float | None = None) -> Loaded:
    """The model in evaluation mode; `adapter` is a folder that PEFT wrote, `merged_at` the strength at which it is folded in.

    A base model is not loaded again where it is in memory beneath an adapter: with that switched off, its answers are the
    base model's to the bit. Not beneath one that has trained biases, which stay in place.
    """
    key = (reference, adapter, merged_at)
    if adapter is None and (beneath := _beneath(reference)):
        beneath.model.base_model.disable_adapter_layers()
        return beneath
    if key not in _last:
        from transformers import GenerationConfig

        release()
        tokenizer = load_tokenizer(reference)
        model = load_base(reference)
        biases: tuple[tuple[Any, Any], ...] = ()
        if adapter is not None:
            model, biases = _with_adapter(model, adapter)
        if merged_at is not None:
            from peft.helpers import rescale_adapter_scale

            with rescale_adapter_scale(model, merged_at):
                model = model.merge_and_unload()
        stops = stop_ids(model, tokenizer, reference.prompt_format)
        # What a model's own configuration asks for (sampling, repetition penalties) would fill in what ours leaves open.
        own = GenerationConfig(eos_token_id=list(stops), pad_token_id=tokenizer.pad_token_id)
        model.generation_config = own
        if adapter is not None and merged_at is None:
            model.get_base_model().generation_config = own
        model.get_output_embeddings().register_forward_pre_hook(_contiguous)
        _last[key] = Loaded(model.eval(), tokenizer, stops, biases)
    if adapter is not None and merged_at is None:
        _last[key].model.base_model.enable_adapter_layers()
    return _last[key]


def _beneath(reference: ModelReference) -> Loaded | None:
    for (other, adapter, merged_at), loaded in _last.items():
        if other == reference and adapter is not None and merged_at is None and not loaded.biases:
            return loaded
    return None


def _with_adapter(model: Any, adapter: Path) -> tuple[Any, tuple[tuple[Any, Any], ...]]:
    """The model with its adapter, and of the biases that the adapter has changed the layer and the base's own."""
    import torch
    from peft import PeftModel

    layers = [layer for layer in model.modules() if isinstance(getattr(layer, "bias", None), torch.nn.Parameter)]
    own = [layer.bias.detach().clone() for layer in layers]
    model = PeftModel.from_pretrained(model, str(adapter))
    pairs = zip(layers, own, strict=True)
    return model, tuple((layer, bias) for layer, bias in pairs if not torch.equal(layer.bias, bias))


@contextmanager
def without_adapter(loaded: Loaded) -> Iterator[None]:
    """Inside, the model answers as its base does, whatever its adapter has changed."""
    trained = [layer.bias.data for layer, _ in loaded.biases]
    with loaded.model.disable_adapter():
        for layer, own in loaded.biases:
            layer.bias.data = own
        try:
            yield
        finally:
            for (layer, _), bias in zip(loaded.biases, trained, strict=True):
                layer.bias.data = bias


def _contiguous(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    # The last positions are a slice. With weights that need no gradient, as an adapter's base has them, torch (2.13) multiplies
    # a slice row by row and copies the whole vocabulary matrix for each: answers came at half the speed.
    return (inputs[0].contiguous(), *inputs[1:])


def release() -> None:
    """Let go of the model that was loaded last."""
    _last.clear()
    free_memory()


def free_memory() -> None:
    """Give what nothing refers to back to the device."""
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_base(reference: ModelReference) -> Any:
    """The base model on its device; in 4 bits when the reference says so."""
    import torch
    from transformers import AutoModelForCausalLM

    progress.quiet()
    return AutoModelForCausalLM.from_pretrained(
        reference.folder,
        revision=None if Path(reference.folder).is_dir() else reference.revision,
        dtype=getattr(torch, reference.dtype),
        quantization_config=quantization_config(reference),
        attn_implementation=reference.attn_implementation,
        device_map={"": 0} if reference.device == "cuda" else {"": "cpu"},
    )


def quantization_config(reference: ModelReference) -> Any:
    """BitsAndBytesConfig for nf4 with double quantisation (QLoRA, arXiv 2305.14314), or None."""
    if reference.quantization != "nf4":
        return None
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, reference.dtype),
    )


def load_tokenizer(reference: ModelReference) -> Any:
    """The tokenizer, in the model's prompt format, padding on the left.

    Raises UserError for an empty EOS token, token ids beyond the embedding, two BOS tokens, and a missing chat template.
    """
    from transformers import AutoConfig, AutoTokenizer

    progress.quiet()
    revision = None if Path(reference.folder).is_dir() else reference.revision
    try:
        tokenizer = AutoTokenizer.from_pretrained(reference.folder, revision=revision)
        config = AutoConfig.from_pretrained(reference.folder, revision=revision)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{reference.path}: its tokenizer or configuration cannot be read ({reason}): check the folder"
        ) from None
    check_tokenizer(tokenizer, reference, getattr(config.get_text_config(), "vocab_size", None))
    tokenizer.padding_side = "left"
    return tokenizer


def check_tokenizer(tokenizer: Any, reference: ModelReference, embeddings: int | None) -> None:
    """Put a tokenizer into the model's format, or raise UserError for what would train or evaluate wrongly."""
    if reference.eos_token:
        if tokenizer.convert_tokens_to_ids(reference.eos_token) in (None, tokenizer.unk_token_id):
            raise UserError(
                f"model.eos_token={reference.eos_token}: {reference.path}'s tokenizer has no such token: correct it"
            )
        tokenizer.eos_token = reference.eos_token
    if not tokenizer.eos_token:
        raise UserError(
            f"{reference.path}: its EOS token is empty, so the end of an answer could not be learned: "
            "name it with model.eos_token (</s> for Llama-1 and Llama-2)"
        )
    prompts.apply_format(tokenizer, reference.prompt_format)
    _check_template(tokenizer, reference)
    # Some tokenizers name a padding token that the model has no row for; padding is masked, so any token will do.
    if tokenizer.pad_token is None or (embeddings is not None and tokenizer.pad_token_id >= embeddings):
        tokenizer.pad_token = tokenizer.eos_token
    prompt = reference.prompt(tokenizer, "Hello")
    largest = max([*prompt, tokenizer.eos_token_id])
    if embeddings is not None and largest >= embeddings:
        raise UserError(
            f"{reference.path}: token id {largest} ({tokenizer.convert_ids_to_tokens(largest)}) lies beyond the "
            f"{embeddings} rows of the embedding: choose a model.prompt_format without that token"
        )
    bos = tokenizer.bos_token_id
    if bos is not None and len(prompt) > 1 and prompt[0] == prompt[1] == bos:
        raise UserError(f"{reference.path}: two BOS tokens begin every prompt: choose another model.prompt_format")


def _check_template(tokenizer: Any, reference: ModelReference) -> None:
    from jinja2 import TemplateError

    try:
        reference.prompt(tokenizer, "Hello")
    except TemplateError as error:
        hint = "leave model.system_prompt unset" if reference.system_prompt else "choose another model.prompt_format"
        raise UserError(f"{reference.path}: its chat template cannot render a request ({error}): {hint}") from None


def context_length(reference: ModelReference) -> int | None:
    """The longest input of the model, in tokens, as its configuration says."""
    from transformers import AutoConfig

    revision = None if Path(reference.folder).is_dir() else reference.revision
    config = AutoConfig.from_pretrained(reference.folder, revision=revision).get_text_config()
    return getattr(config, "max_position_embeddings", None)


def stop_ids(model: Any, tokenizer: Any, prompt_format: str) -> tuple[int, ...]:
    """Every token that ends an answer: the format's, the tokenizer's and the model's own."""
    own = getattr(model.generation_config, "eos_token_id", None)
    own = own if isinstance(own, list) else [own]
    ids = {prompts.end_of_turn_id(tokenizer, prompt_format), tokenizer.eos_token_id, *own}
    return tuple(sorted(id for id in ids if id is not None))
