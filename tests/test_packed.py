"""Rows passed through a model as one: the same as each by itself, in every family that is packed, and padded elsewhere."""

import random
from types import SimpleNamespace

import pytest
import torch

from medsafe_train.models import loglikelihood, packed, prefix
from medsafe_train.models.loglikelihood import Item

SMALL = {
    "vocab_size": 320, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512,
}  # fmt: skip


def made(family, **settings):
    """A small model of random weights, as a stage has it loaded."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SMALL, **settings)).eval()
    return SimpleNamespace(model=model, tokenizer=SimpleNamespace(pad_token_id=0))


def given():
    chance = random.Random(0)
    tokens = lambda n: [chance.randrange(5, 320) for _ in range(n)]  # noqa: E731
    first = tokens(50)
    return [
        Item(str(n), first + tokens(chance.randint(1, 40)), [tokens(n % 3 + 1) for _ in range(3)]) for n in range(9)
    ]


def far(loaded, items):
    """The largest distance to one forward pass an option."""
    found = {r["id"]: r["loglikelihoods"] for batch in loglikelihood.scored(loaded, items, 400, ()) for r in batch}
    distances = []
    for item in items:
        for option, value in zip(item.options, found[item.id], strict=True):
            with torch.inference_mode():
                chances = loaded.model(torch.tensor([item.context + option])).logits.log_softmax(-1)[0]
            expected = sum(chances[len(item.context) + n - 1, token] for n, token in enumerate(option))
            distances.append(abs(float(expected) - value))
    return max(distances)


@pytest.mark.parametrize("family", packed.FAMILIES)
def test_every_family_that_is_packed(family):
    loaded = made(family, sliding_window=None)
    assert packed.possible(loaded.model) and far(loaded, given()) < 1e-4


@pytest.mark.parametrize(
    "family, settings",
    [
        ("mistral", {"sliding_window": 16}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
        ("gemma2", {}),
        ("granite", {}),
    ],
)
def test_others_are_not_packed_and_as_right(family, settings):
    loaded = made(family, **settings)
    assert not packed.possible(loaded.model) and far(loaded, given()) < 1e-4


HYBRID = {"layer_types": ["conv", "full_attention", "conv"]}


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    "family, settings",
    [("mamba", {}), ("rwkv", {"attention_hidden_size": 32}), ("lfm2", HYBRID), ("recurrent_gemma", {"lru_width": 32})],
)
def test_layers_with_a_state_of_their_own_share_no_beginning(monkeypatch, family, settings, kept):
    """Known by what their configuration names, and, where that says nothing, by what the cache holds."""
    loaded = made(family, **settings)
    if not kept and family in ("mamba", "rwkv", "recurrent_gemma"):  # lfm2 cannot use such a cache
        monkeypatch.setattr(prefix, "_attends_only", lambda model: True)
    assert not packed.possible(loaded.model) and far(loaded, given()) < 1e-4


@pytest.mark.parametrize("rope", ["dynamic", "longrope", "linear"])
def test_frequencies_that_follow_the_longest_row_are_not_packed(rope):
    factors = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "original_max_position_embeddings": 256}
    settings = {"rope_type": rope, "rope_theta": 10000.0, "factor": 2.0, **(factors if rope == "longrope" else {})}
    assert packed.possible(made("llama", rope_parameters=settings).model) == (rope == "linear")


def test_a_row_sees_no_other():
    loaded = made("llama")
    rows = [[7, 8, 9], [10, 11, 12, 13], [14]]
    with torch.inference_mode():
        together = packed.logits(loaded.model, rows, [], list(range(8)))[0]
        alone = torch.cat([loaded.model(torch.tensor([row])).logits[0] for row in rows])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_models_own_attention_is_back_after_a_failure():
    loaded = made("llama")
    chosen = loaded.model.config._attn_implementation
    with pytest.raises(IndexError):
        packed.logits(loaded.model, [[1, 2], [3]], [], [99])
    layer = loaded.model.model.layers[-1]
    assert loaded.model.config._attn_implementation == chosen
    assert not layer.mlp._forward_hooks and not layer.self_attn.q_proj._forward_pre_hooks
