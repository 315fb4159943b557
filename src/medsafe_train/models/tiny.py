"""A two-layer Llama with random weights and its own small tokenizer: shows that the machinery runs, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.config import shipped

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def made_from(seed: int) -> dict[str, Any]:
    """What decides the tiny model."""
    corpus = shipped("data") / "harmful_requests.jsonl"
    return {"path": "tiny-random", "seed": seed, "corpus": artifacts.sha256(corpus), "version": 1}


def make(store: artifacts.Store, seed: int) -> artifacts.Artifact:
    """The tiny model for a seed, as an artifact; its tokenizer is trained on the project's own requests."""
    corpus = shipped("data") / "harmful_requests.jsonl"

    def build(folder: Path) -> None:
        write(folder, [record["prompt"] for record in artifacts.read_jsonl(corpus)], seed)

    return store.make("model", made_from(seed), build)


def write(folder: Path, texts: list[str], seed: int) -> None:
    """Write a tiny random Llama (2 layers, width 64) and a byte-level BPE tokenizer (1,024 tokens) trained on texts."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    progress.quiet()
    special = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=1024,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|end|>", extra_special_tokens=special[1:]
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
