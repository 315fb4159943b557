"""Medical questions on a GPU: ours, before and after in one loaded model, against a plain forward pass an option.

    python benchmarks/qa_gpu.py            # a 7B Llama of random weights, made on the device, in bfloat16; under 90 seconds
    python benchmarks/qa_gpu.py --tiny     # the same on a CPU, to see that it runs

Random weights answer at random, so that nothing here is about medicine: the time, the memory, and whether the same options are
chosen. Needs torch, transformers and peft alone.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
from medsafe_train.models.loglikelihood import Item, scored

LLAMA_7B = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32_000,
}
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 1024,
}
# As long as PubMedQA's: three worked examples of about 350 tokens, questions of about 330.
SETTINGS = {"3-shot": (1050, 32), "0-shot": (0, 64)}
OPTIONS = 4


def main() -> None:
    """Make the model, measure both ways in both settings, and print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--batch-tokens", type=int, default=16_384)
    given = parser.parse_args()
    start = time.perf_counter()
    loaded = make(TINY if given.tiny else LLAMA_7B, "cpu" if given.tiny else "cuda")
    print(f"{device_name()}, torch {torch.__version__}, model made in {time.perf_counter() - start:.1f} s", flush=True)
    results = {}
    for name, (begin, count) in SETTINGS.items():
        given_items = items(
            begin, 8 if given.tiny else count, 40 if given.tiny else 330, loaded.model.config.vocab_size
        )
        results[name] = compare(loaded, given_items, given.batch_tokens, name)
    print(json.dumps({"device": device_name(), "torch": torch.__version__, "results": results}))
    print(f"all in {time.perf_counter() - start:.1f} s")


def make(config: dict[str, int], device: str) -> Any:
    """A Llama of random weights in bfloat16 with a LoRA adapter of random weights."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = LlamaForCausalLM(LlamaConfig(**config, max_position_embeddings=4096, attn_implementation="sdpa"))
        adapted = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False))
    torch.set_default_dtype(torch.float32)
    return SimpleNamespace(model=adapted.to(device, torch.bfloat16).eval(), tokenizer=SimpleNamespace(pad_token_id=0))


def items(begin: int, count: int, length: int, vocabulary: int) -> list[Item]:
    """Questions of random tokens, about `length` long, behind one beginning."""
    chance = random.Random(begin)
    tokens = lambda n: [chance.randrange(3, vocabulary) for _ in range(n)]  # noqa: E731
    first = tokens(begin)
    return [
        Item(str(n), first + tokens(chance.randint(length // 2, length * 3 // 2)), [[t] for t in chance.sample(range(3, vocabulary), OPTIONS)])
        for n in range(count)
    ]  # fmt: skip


Scores = dict[str, list[float]]


def ours(loaded: Any, given: list[Item], budget: int) -> Scores:
    """The project's own scoring."""
    return {r["id"]: r["loglikelihoods"] for batch in scored(loaded, given, budget, ()) for r in batch}


def plain(loaded: Any, given: list[Item]) -> Scores:
    """A forward pass an option, with all logits, as the model's number format gives them."""
    found = {}
    with torch.inference_mode():
        for item in given:
            values = []
            for option in item.options:
                ids = torch.tensor([item.context + option], device=loaded.model.device)
                chances = torch.log_softmax(loaded.model(ids[:, :-1]).logits.float(), dim=-1)
                values.append(float(chances[0, -1, option[0]]))
            found[item.id] = values
    return found


def timed(work: Callable[[], Scores]) -> tuple[float, float, Scores]:
    """Seconds, peak memory in GB, and what came out."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    found = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
    return time.perf_counter() - start, peak, found


def compare(loaded: Any, given: list[Item], budget: int, name: str) -> dict[str, Any]:
    """Both ways before (adapter off) and after (on), interleaved, and ours once more with one question a batch."""
    ours(loaded, given[:8], budget)  # kernels are chosen and memory is taken before the clock starts
    plain(loaded, given[:1])
    found: dict[str, Any] = {"items": len(given), "tokens": sum(len(item.context) for item in given)}
    chosen: dict[str, list[int]] = {}
    for arm in ("before", "after"):
        switch = loaded.model.base_model
        (switch.disable_adapter_layers if arm == "before" else switch.enable_adapter_layers)()
        seconds, peak, fast = timed(lambda: ours(loaded, given, budget))
        slow_seconds, slow_peak, slow = timed(lambda: plain(loaded, given))
        one_by_one = ours(loaded, given, 1)
        for way, scores in (("ours", fast), ("plain", slow), ("one", one_by_one)):
            chosen[f"{arm} {way}"] = [max(range(OPTIONS), key=scores[item.id].__getitem__) for item in given]
        found[arm] = {
            "ours_s": round(seconds, 3),
            "plain_s": round(slow_seconds, 3),
            "times": round(slow_seconds / seconds, 2),
            "ours_peak_gb": round(peak, 2),
            "plain_peak_gb": round(slow_peak, 2),
            "same_choice": share(chosen[f"{arm} ours"], chosen[f"{arm} plain"]),
            "same_choice_batch_of_one": share(chosen[f"{arm} ours"], chosen[f"{arm} one"]),
            "largest_difference": max(abs(a - b) for id in fast for a, b in zip(fast[id], slow[id], strict=True)),
            "plain_ties": sum(sorted(values)[-1] == sorted(values)[-2] for values in slow.values()),
        }
        print(f"{name} {arm}: {found[arm]}", flush=True)
    loaded.model.merge_adapter()
    folded, _, _ = timed(lambda: ours(loaded, given, budget))
    loaded.model.unmerge_adapter()
    found["both_over_base"] = round(
        (found["before"]["ours_s"] + found["after"]["ours_s"]) / found["before"]["ours_s"], 2
    )
    found["both_over_base_folded_in"] = round((found["before"]["ours_s"] + folded) / found["before"]["ours_s"], 2)
    print(
        f"{name}: before and after over base alone {found['both_over_base']}, adapter folded in {found['both_over_base_folded_in']}"
    )
    return found


def share(one: list[int], other: list[int]) -> float:
    """How many agree, of all."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def device_name() -> str:
    """The GPU's name, or cpu."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()
