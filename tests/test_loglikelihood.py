"""Log-likelihoods of options: equal to one forward pass an option, whatever is shared, batched, killed or switched off."""

import copy
import json
import random
import shutil

import pytest
import torch

from medsafe_train.artifacts import Ledger
from medsafe_train.config import UserError
from medsafe_train.models import divergence, folded, loglikelihood, packed, prefix
from medsafe_train.models.load import load, release
from medsafe_train.models.loglikelihood import Item


def direct(loaded, context, option):
    with torch.inference_mode():
        chances = torch.log_softmax(loaded.model(torch.tensor([context + option])).logits.float(), -1)[0]
    return sum(float(chances[len(context) + n - 1, token]) for n, token in enumerate(option))


def items(seed=0, count=12, begin=40, options=4, longest=1):
    """Made-up questions behind one beginning."""
    chance = random.Random(seed)
    tokens = lambda n: [chance.randrange(5, 320) for _ in range(n)]  # noqa: E731
    first = tokens(begin)
    return [
        Item(
            f"{n}", first + tokens(chance.randint(1, 30)), [tokens(chance.randint(1, longest)) for _ in range(options)]
        )
        for n in range(count)
    ]


def scored(loaded, given, budget, path):
    ledger = Ledger(path)
    loglikelihood.score(loaded, given, budget, ledger, "")
    return ledger.records


@pytest.mark.parametrize("begin", [0, 3, 40])
@pytest.mark.parametrize("longest", [1, 5])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("packs", [True, False])
def test_they_equal_one_forward_pass_an_option(change, tmp_path, monkeypatch, begin, longest, attention, packs):
    loaded = load(change(attn_implementation=attention))
    assert packed.possible(loaded.model)
    monkeypatch.setattr(packed, "possible", lambda model: packs)
    given = items(begin=begin, longest=longest)
    for budget in (1, 90, 4096):
        found = scored(loaded, given, budget, tmp_path / str(budget))
        for item in given:
            expected = [direct(loaded, item.context, option) for option in item.options]
            assert found[item.id]["loglikelihoods"] == pytest.approx(expected, abs=1e-4)
            assert found[item.id]["tokens"] == [len(option) for option in item.options]
    assert loaded.model.config._attn_implementation == attention


def test_the_beginning_passes_through_the_model_once(reference, tmp_path, monkeypatch):
    loaded, seen = load(reference), []
    original = loaded.model.forward

    def counted(ids=None, *rest, **named):
        seen.append(tuple((named.get("input_ids") if ids is None else ids).shape))
        return original(ids, *rest, **named)

    monkeypatch.setattr(loaded.model, "forward", counted)
    given = items(begin=200)
    scored(loaded, given, 64, tmp_path / "x")
    assert seen[0] == (1, 200) and len(seen) > 3
    assert sum(width for _, width in seen[1:]) == sum(len(item.context) - 200 for item in given)  # and no padding


def test_what_is_shared_is_found():
    assert prefix.shared([[*range(20), 1], [*range(20), 2]]) == list(range(20))
    assert prefix.shared([[*range(20)], [*range(30)]]) == list(range(20))
    assert prefix.shared([[1, 2, 3], [1, 2, 4]]) == [] == prefix.shared([[*range(20)]])


def test_one_item_and_items_alike(reference, tmp_path):
    loaded = load(reference)
    one = items(count=1)
    found = scored(loaded, one, 4096, tmp_path / "one")["0"]["loglikelihoods"]
    twice = [one[0], Item("1", one[0].context, one[0].options)]
    assert scored(loaded, twice, 4096, tmp_path / "two")["1"]["loglikelihoods"] == pytest.approx(found, abs=1e-5)


def test_bfloat16_is_read_in_float32(change, tmp_path):
    """Of options that a bfloat16 model finds nearly alike, most tie when its own logits are read, and none does here."""
    loaded = load(change(dtype="bfloat16"))
    given = items(count=40, options=60)
    found = scored(loaded, given, 512, tmp_path / "x")
    different = {item.id: len({option[0] for option in item.options}) for item in given}
    assert all(len(set(found[item.id]["loglikelihoods"])) == different[item.id] for item in given)
    with torch.inference_mode():
        ties = 0
        for item in given:
            logits = loaded.model(torch.tensor([item.context])).logits[0, -1]
            ties += len({float(logits[option[0]]) for option in item.options}) < different[item.id]
    assert ties > 5


def test_numbers_that_overflow_are_told_with_the_question(change, tmp_path):
    loaded = load(change(dtype="float16"))
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[7] = float("inf")
    given = [Item("fine", [5, 6], [[8], [9]]), Item("mine 3", [5, 6, 7], [[8], [9]])]
    with pytest.raises(
        UserError, match=r"^question mine 3: .* is nan, .* in float16: use model.dtype=bfloat16 or float32"
    ):
        scored(loaded, given, 1, tmp_path / "x")
    release()


def test_batch_sizes_do_not_flip_choices(change, tmp_path):
    """Batch size 1 against the default: at most one choice in 200, in bfloat16."""
    loaded = load(change(dtype="bfloat16"))
    given = items(count=200, options=4)
    choices = []
    for budget in (1, 1024):
        found = scored(loaded, given, budget, tmp_path / str(budget))
        choices.append([max(range(4), key=found[item.id]["loglikelihoods"].__getitem__) for item in given])
    assert sum(one != other for one, other in zip(*choices, strict=True)) <= 1


@pytest.fixture
def adapter(reference, tmp_path):
    from peft import LoraConfig, get_peft_model

    from medsafe_train.models.load import load_base

    torch.manual_seed(1)
    model = get_peft_model(load_base(reference), LoraConfig(r=4, init_lora_weights=False, target_modules="all-linear"))
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_base_and_adapter_are_one_loaded_model(reference, adapter, tmp_path):
    """With the adapter switched off, the base model's answers to the bit; each with a beginning of its own."""
    given = items()
    base = scored(load(reference), given, 256, tmp_path / "base")
    tuned = load(reference, adapter)
    after = scored(tuned, given, 256, tmp_path / "after")
    assert load(reference).model is tuned.model
    assert scored(load(reference), given, 256, tmp_path / "again") == base != after
    assert load(reference, adapter) is tuned and scored(tuned, given, 256, tmp_path / "tuned") == after


@pytest.mark.parametrize("bias", ["none", "lora_only", "all"])
def test_the_base_beneath_an_adapter_with_biases_of_its_own_is_the_base(change, tmp_path, bias):
    """Beside the answers, the divergence from it: of both, what two models in memory say."""
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path / "qwen"
    shutil.copytree(change().folder, folder)
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(2)
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=1024, num_key_value_heads=2, **sizes))
    model.save_pretrained(folder)
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"], bias=bias, init_lora_weights=False))
    for name, weight in model.named_parameters():
        if weight.requires_grad and "bias" in name:
            torch.nn.init.normal_(weight)
    model.save_pretrained(tmp_path / "adapter")
    base, given = change(folder=str(folder)), items(count=4)
    expected, kept = scored(load(base), given, 256, tmp_path / "base"), load(base)
    tuned = load(base, tmp_path / "adapter")
    assert scored(tuned, given, 256, tmp_path / "tuned") != expected
    moved = Ledger(tmp_path / "moved")
    divergence.measure(tuned, [("a", [5, 6], [7, 8, 9])], moved, "")
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.inference_mode():
        one, other = (m.model(ids).logits[0, 1:-1].log_softmax(-1) for m in (kept, tuned))
    assert moved.records["a"]["kl"] == pytest.approx(float((one.exp() * (one - other)).sum(-1).mean()), rel=1e-3)
    assert scored(load(base), given, 256, tmp_path / "again") == expected


ON_HEAD = {
    "replaced": {"modules_to_save": ["lm_head"]},
    "added to": {"target_modules": ["q_proj", "lm_head"]},
    "added to, with a bias": {"target_modules": ["q_proj", "lm_head"], "lora_bias": True},
}


@pytest.fixture(params=sorted(ON_HEAD))
def head_adapter(request, change, tmp_path):
    """An adapter that changes the vocabulary's matrix."""
    from peft import LoraConfig, get_peft_model

    from medsafe_train.models.load import load_base

    torch.manual_seed(1)
    config = LoraConfig(r=4, init_lora_weights=False, **{"target_modules": ["q_proj"], **ON_HEAD[request.param]})
    model = get_peft_model(load_base(change(dtype="bfloat16")), config)
    if request.param == "replaced":
        torch.nn.init.normal_(model.get_output_embeddings().weight, std=0.05)
    model.save_pretrained(tmp_path / "head")
    return tmp_path / "head"


def test_a_head_with_an_adapter_is_read_in_float32_too(change, head_adapter, tmp_path):
    """Near the same head in a model that is all float32 behind it, and the base beneath equals the base alone."""
    model, given = change(dtype="bfloat16"), items(count=6, options=40)
    base = scored(load(model), given, 512, tmp_path / "base")
    tuned = load(model, head_adapter)
    found = scored(tuned, given, 512, tmp_path / "tuned")
    head, seen = tuned.model.get_output_embeddings(), []
    for item in given:
        hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        with torch.inference_mode():
            tuned.model(torch.tensor([item.context]))
        hook.remove()
    assert load(model) is tuned and scored(load(model), given, 512, tmp_path / "again") == base
    load(model, head_adapter)
    exact = copy.deepcopy(head).float()
    for item, hidden in zip(given, seen, strict=True):
        with torch.inference_mode():
            chances = exact(hidden[:, -1:].float())[0, -1].log_softmax(-1)
        expected = [float(chances[option[0]]) for option in item.options]
        values = found[item.id]["loglikelihoods"]
        assert len(set(values)) == len({option[0] for option in item.options})
        assert values == pytest.approx(expected, abs=0.02)


def test_an_adapter_is_folded_in_and_leaves_the_weights_as_they_were(reference, adapter, tmp_path, monkeypatch):
    """Near what its own products give, by the base model's very weights, also when scoring breaks off."""
    given, loaded, kept = items(), load(reference, adapter), folded.LEAST_TOKENS
    layers = [m for m in loaded.model.modules() if hasattr(m, "lora_A")]
    before = [(layer.get_base_layer().weight, layer.get_base_layer().weight.clone()) for layer in layers]
    plain = scored(loaded, given, 256, tmp_path / "plain")  # fewer tokens than it takes
    monkeypatch.setattr(folded, "LEAST_TOKENS", 1)
    products = []
    for layer in layers:
        layer.lora_A["default"].register_forward_hook(lambda *_: products.append(1))
    after = scored(loaded, given, 256, tmp_path / "folded")
    assert not products and kept > 1
    for id, record in plain.items():
        assert after[id]["loglikelihoods"] == pytest.approx(record["loglikelihoods"], abs=1e-4)
    halfway = loglikelihood.scored(loaded, given, 64, ())
    next(halfway)
    halfway.close()
    for layer, (weight, bytes_before) in zip(layers, before, strict=True):
        assert layer.get_base_layer().weight is weight and torch.equal(weight, bytes_before)
        assert "forward" not in vars(layer)


@pytest.mark.parametrize("how", ["off", "bfloat16", "dora", "bias", "quantised"])
def test_what_cannot_be_folded_in_is_left_alone(change, how):
    from peft import LoraConfig, get_peft_model

    from medsafe_train.models.load import load_base

    config = LoraConfig(r=4, target_modules=["q_proj"], use_dora=how == "dora", lora_bias=how == "bias")
    model = load_base(change(dtype="bfloat16" if how == "bfloat16" else "float32"))
    if how == "quantised":  # a class of its own, as bitsandbytes has
        for layer in model.model.layers:
            layer.self_attn.q_proj.__class__ = type("Linear4bit", (torch.nn.Linear,), {})
    model = get_peft_model(model, config).eval()
    if how == "off":
        model.base_model.disable_adapter_layers()
    with folded.folded(model):
        assert not any("forward" in vars(m) for m in model.modules() if hasattr(m, "lora_A"))


def test_killed_at_random_moments_it_ends_the_same_and_scores_nothing_twice(reference, tmp_path, monkeypatch):
    """A batch of which all is known is not scored again; of one that was torn while it was written, there is one at most."""
    loaded, given = load(reference), items(count=30, longest=3)
    batches, plain = [], loglikelihood._score_batch

    def counted(loaded, batch, prefix):
        batches.append({row.item for row in batch})
        return plain(loaded, batch, prefix)

    monkeypatch.setattr(loglikelihood, "_score_batch", counted)
    whole = (tmp_path / "whole", scored(loaded, given, 200, tmp_path / "whole"))[0].read_bytes()
    every, chance = list(batches), random.Random(3)
    assert len(every) > 5
    for n in range(20):
        path = tmp_path / f"torn{n}"
        path.write_bytes(whole[: chance.randrange(len(whole))] if n else whole)
        kept = {json.loads(line)["id"] for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")}
        batches.clear()
        scored(loaded, given, 200, path)
        assert batches == [batch for batch in every if not batch <= kept] and sum(bool(b & kept) for b in batches) <= 1
        found = path.read_bytes()
        lines = [json.loads(line) for line in found.splitlines()]
        assert len({line["id"] for line in lines}) == len(lines) == 30
        assert sorted(found.splitlines()) == sorted(whole.splitlines())
