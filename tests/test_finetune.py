"""Fine-tuning on a tiny Llama through the real transformers, TRL and PEFT."""

import dataclasses
import json
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from medsafe_train import artifacts
from medsafe_train.config import (
    DemonstrationsSettings,
    FinetuneSettings,
    GateSettings,
    MixSettings,
    UserError,
)
from medsafe_train.models import training
from medsafe_train.models.trainer import answer_weights
from medsafe_train.quality.mix import mixed
from medsafe_train.sources.prompt_sets import Prompt, PromptSet, TrainingSets
from medsafe_train.stages import checkpoint, divergence, finetune, own_answers, preference, scale
from medsafe_train.stages import demonstrations as writing

SETTINGS = FinetuneSettings(
    r=4,
    lora_alpha=8,
    learning_rate=1e-2,
    num_train_epochs=2,
    per_device_train_batch_size=4,
    warmup_steps=0,
    max_length=256,
    save_steps=2,
    first_tokens_weight=1.0,
    scales=[1.0],
)


@pytest.fixture
def demonstrations(store):
    def build(folder):
        records = [
            {"id": f"{n}", "request": f"Request number {n}, please.", "response": f"I can't help with that, {n}." + " More." * (n % 3),
             "kind": "safe", "principle": 1, "source": "test"}
            for n in range(12)
        ]  # fmt: skip
        artifacts.write_jsonl(folder / "demonstrations.jsonl", records)

    return store.make("demonstrations", {"test": 1}, build)


def train(store, demonstrations, reference, **changes):
    return finetune.run(store, dataclasses.replace(SETTINGS, **changes), demonstrations, reference, seed=0)


def losses(made):
    return [entry["loss"] for entry in made.records("training.jsonl") if "loss" in entry]


def adapter_bytes(made):
    return artifacts.sha256(made.path("adapter") / "adapter_model.safetensors")


def test_it_learns_and_leaves_what_a_user_ships(store, demonstrations, reference):
    made = train(store, demonstrations, reference)
    assert losses(made)[-1] < losses(made)[0] - 0.3
    for name in (
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "prompt_format.json",
    ):
        assert (made.path("adapter") / name).is_file()
    assert not made.path("checkpoints").exists()
    assert json.loads((made.path("adapter") / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"


def test_the_merged_checkpoint_loads_plainly_and_answers_the_same(store, demonstrations, reference):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from medsafe_train.models.generate import generate
    from medsafe_train.models.load import load

    made = train(store, demonstrations, reference)
    merged_into = checkpoint.run(store, demonstrations, made, reference)
    check = merged_into.json("merge_check.json")
    assert check["same_greedy_answers"] == check["of"] == 8 and check["largest_logit_difference"] < 0.02
    merged = AutoModelForCausalLM.from_pretrained(merged_into.path("merged"))
    assert merged.dtype == torch.float16
    record = json.loads((merged_into.path("merged") / "medsafe_train.json").read_text())
    assert record["adapter"] == made.id and record["check"]["of"] == 8 and "settings" in record["adapter_made_from"]
    tokenizer = AutoTokenizer.from_pretrained(merged_into.path("merged"))
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Request number 3, please."}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    out = merged.float().generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :].tolist()
    loaded = load(reference, made.path("adapter"))
    expected = generate(loaded, [reference.prompt(loaded.tokenizer, "Request number 3, please.")], 12)[0]
    assert out and out == expected[: len(out)]


def test_the_same_settings_give_the_same_bytes(tmp_path, demonstrations, reference):
    made = [train(artifacts.Store(tmp_path / str(n)), demonstrations, reference) for n in range(2)]
    assert made[0].folder != made[1].folder and adapter_bytes(made[0]) == adapter_bytes(made[1])


def test_batch_of_four_equals_two_accumulated_batches_of_two(tmp_path, demonstrations, reference):
    whole = train(artifacts.Store(tmp_path / "a"), demonstrations, reference)
    halves = train(
        artifacts.Store(tmp_path / "b"),
        demonstrations,
        reference,
        merge=False,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
    )
    assert losses(whole) == pytest.approx(losses(halves), abs=2e-3)


def test_packing_and_checkpointing_keep_the_first_loss(tmp_path, demonstrations, reference):
    """A pack of all rows has the loss of a batch of all rows."""
    first = []
    for n, changes in enumerate(
        [{}, {"gradient_checkpointing": True}, {"packing": True, "per_device_train_batch_size": 1, "max_length": 2048}]
    ):
        given = {"per_device_train_batch_size": 12, "num_train_epochs": 1, **changes}
        first.append(losses(train(artifacts.Store(tmp_path / str(n)), demonstrations, reference, **given))[0])
    assert first == pytest.approx([first[0]] * 3, abs=1e-3)


def test_packed_rows_are_distilled_as_padded_ones_are(tmp_path, store, reference):
    """The first loss is that of the refusals alone in both: at the start the adapter adds nothing to diverge by."""

    def build(folder):
        own = {"kind": "benign", "source": "base", "principle": 1}
        safe = {**own, "kind": "safe", "source": "test"}
        records = [
            {
                **(own if n % 2 else safe),
                "id": f"{n}",
                "request": f"Request number {n}.",
                "response": f"An answer, {n}." * 3,
            }
            for n in range(8)
        ]
        artifacts.write_jsonl(folder / "demonstrations.jsonl", records)

    both = store.make("demonstrations", {"test": "both"}, build)
    found = []
    for n, changes in enumerate([{}, {"packing": True, "per_device_train_batch_size": 1, "max_length": 2048}]):
        given = {"per_device_train_batch_size": 8, "num_train_epochs": 4, "learning_rate": 1e-2, **changes}
        given["mix"] = MixSettings(safe=1.0, benign=1.0)
        found.append(losses(train(artifacts.Store(tmp_path / str(n)), both, reference, **given)))
    assert found[0] == pytest.approx(found[1], abs=2e-2) and found[0][-1] < found[0][0] - 0.1


def test_the_loss_is_that_of_trl(tmp_path, demonstrations, reference, monkeypatch):
    """With weight 1, skipping the prompts' logits changes nothing: TRL's own loss on the same rows."""
    from trl import SFTTrainer

    from medsafe_train.models.trainer import AnswerTrainer

    ours = train(artifacts.Store(tmp_path / "a"), demonstrations, reference)
    monkeypatch.setattr(AnswerTrainer, "compute_loss", SFTTrainer.compute_loss)
    theirs = train(artifacts.Store(tmp_path / "b"), demonstrations, reference)
    assert losses(ours) == pytest.approx(losses(theirs), abs=1e-3)


def test_weights_fall_on_the_beginning_of_each_answer():
    labels = torch.tensor([[-100, -100, 5, 6, 7, 8, -100, 9, 3], [1, 2, -100, -100, 3, 4, 5, -100, -100]])
    expected = torch.tensor([[1, 1, 4, 4, 1, 1, 1, 4, 4], [4, 4, 1, 1, 4, 4, 1, 1, 1]], dtype=torch.float)
    assert torch.equal(answer_weights(labels, 2, 4.0), expected)
    assert torch.equal(answer_weights(labels, 2, 1.0), torch.ones_like(expected))


def test_refusals_and_rehearsed_answers_share_every_update(store, reference, monkeypatch):
    """Both epochs, though one kind is longer than the other by far; and not without the setting."""
    from medsafe_train.models.trainer import AnswerTrainer

    refusals = [("safe", "template", "No. " * 20)] * 6
    answers = [("benign", "base", "Yes.")] * 6
    records = [
        {"id": f"{n}", "request": f"Request {n}.", "response": said, "kind": kind, "principle": 1, "source": source}
        for n, (kind, source, said) in enumerate(refusals + answers)
    ]
    made = store.make(
        "demonstrations", {"test": 2}, lambda folder: artifacts.write_jsonl(folder / "demonstrations.jsonl", records)
    )
    original, seen = AnswerTrainer.compute_loss, []

    def looks(self, model, inputs, *rest, **named):
        seen.append(sorted(bool(max(row) >= 1 << 24) for row in inputs["labels"].tolist()))
        return original(self, model, inputs, *rest, **named)

    monkeypatch.setattr(AnswerTrainer, "compute_loss", looks)
    train(store, made, reference, mixed_updates=True, mix=MixSettings(safe=1.0, benign=1.0))
    assert seen == [[False, False, True, True]] * 6
    train(store, made, reference, mix=MixSettings(safe=1.0, benign=1.0))
    assert seen[6:] != seen[:6]


def test_weights_change_what_is_learned(tmp_path, demonstrations, reference):
    plain = train(artifacts.Store(tmp_path / "a"), demonstrations, reference)
    weighed = train(artifacts.Store(tmp_path / "b"), demonstrations, reference, first_tokens_weight=10.0)
    assert adapter_bytes(plain) != adapter_bytes(weighed)


@pytest.mark.parametrize(
    ("stop_after", "quantization", "mixed_updates"),
    [(2, "none", False), (3, "none", False), (3, "nf4", False), (3, "none", True), (5, "none", True)],
)
def test_a_killed_run_goes_on_and_ends_with_the_same_adapter(
    tmp_path, demonstrations, change, monkeypatch, stop_after, quantization, mixed_updates
):
    from medsafe_train.models.trainer import AnswerTrainer

    model = change(quantization=quantization, dtype="float32" if quantization == "none" else "bfloat16")
    whole = train(artifacts.Store(tmp_path / "a"), demonstrations, model, mixed_updates=mixed_updates)
    original, calls = AnswerTrainer.training_step, []

    def dies(self, *args, **more):
        calls.append(1)
        if len(calls) > stop_after:
            raise KeyboardInterrupt
        return original(self, *args, **more)

    store = artifacts.Store(tmp_path / "b")
    monkeypatch.setattr(AnswerTrainer, "training_step", dies)
    with pytest.raises(KeyboardInterrupt):
        train(store, demonstrations, model, mixed_updates=mixed_updates)
    monkeypatch.setattr(AnswerTrainer, "training_step", original)
    resumed = train(store, demonstrations, model, mixed_updates=mixed_updates)
    assert adapter_bytes(resumed) == adapter_bytes(whole)
    assert resumed.path("training.jsonl").read_bytes() == whole.path("training.jsonl").read_bytes()


def test_merging_later_does_not_train_again(store, demonstrations, reference):
    first = train(store, demonstrations, reference, merge=False)
    assert train(store, demonstrations, reference, merge=True) == first


def test_plain_generate_stops_where_the_prompt_format_does(store, demonstrations, reference):
    from transformers import GenerationConfig

    made = checkpoint.run(store, demonstrations, train(store, demonstrations, reference), reference)
    ends = GenerationConfig.from_pretrained(made.path("merged")).eos_token_id
    from medsafe_train.models.load import load_tokenizer

    assert load_tokenizer(reference).convert_tokens_to_ids("<|end|>") in (ends if isinstance(ends, list) else [ends])


def test_updates_are_no_line_each_in_a_log(capsys):
    from medsafe_train.models.training import _watch

    with _watch() as watch:
        watch.on_train_begin(None, SimpleNamespace(max_steps=3, global_step=0), None)
        for step in (1, 2, 3):
            watch.on_step_end(None, SimpleNamespace(max_steps=3, global_step=step), None)
            watch.on_log(None, SimpleNamespace(global_step=step), None, {"loss": 1.0})
    assert capsys.readouterr().err == ""


def test_a_half_written_checkpoint_is_not_used(tmp_path):
    for step, state in ((2, "{}"), (4, '{"global_step"'), (10, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert training.last_checkpoint(tmp_path).name == "checkpoint-2"
    assert not (tmp_path / "checkpoint-10").exists()


def test_rows_train_the_answer_and_its_end_only(reference):
    records = [
        {**SAFE, "request": "A request.", "response": "An answer."},
        {**SAFE, "request": "x" * 400, "response": "Too long."},
    ]
    rows, dropped = finetune.training_rows(records, reference, FinetuneSettings(max_length=64))
    assert len(rows) == 1 and dropped == 1
    from medsafe_train.models.load import load_tokenizer

    tokenizer = load_tokenizer(reference)
    trained = [id for id in rows[0]["labels"] if id != -100]
    assert tokenizer.decode(trained) == "An answer.<|end|>"
    assert rows[0]["input_ids"][: -len(trained)] == reference.prompt(tokenizer, "A request.")


def test_max_length_shorter_than_every_demonstration(store, demonstrations, reference):
    with pytest.raises(UserError, match="max_length=5"):
        train(store, demonstrations, reference, max_length=5)


def test_a_loss_that_is_no_number_publishes_nothing(store, demonstrations, reference, monkeypatch):
    from medsafe_train.models.trainer import AnswerTrainer

    original = AnswerTrainer.compute_loss
    monkeypatch.setattr(AnswerTrainer, "compute_loss", lambda *a, **k: original(*a, **k) * float("nan"))
    with pytest.raises(UserError, match="loss is nan at step 1"):
        train(store, demonstrations, reference)
    assert not list(store.root.glob("finetune/[!.]*"))


def test_qlora_on_a_cpu(store, demonstrations, change):
    """nf4 with double quantisation through bitsandbytes: trains, and merges into the 16-bit base."""
    pytest.importorskip("bitsandbytes")
    made = train(store, demonstrations, change(quantization="nf4", dtype="bfloat16"), gradient_checkpointing=True)
    assert losses(made)[-1] < losses(made)[0]
    merged_into = checkpoint.run(store, demonstrations, made, change(quantization="nf4", dtype="bfloat16"))
    assert merged_into.json("merge_check.json")["dtype"] == "float16"


SAFE = {"kind": "safe", "source": "template"}


# --- what is trained on, and how --------------------------------------------------------------------------------------


def test_the_mix_takes_shares_and_repeats():
    records = [{"id": f"{kind}{n}", "kind": kind} for kind in ("safe", "benign", "recovery") for n in range(10)]
    made = mixed(records, MixSettings(safe=1.0, benign=0.3, recovery=1.5), seed=0)
    kinds = [record["kind"] for record in made]
    assert (kinds.count("safe"), kinds.count("benign"), kinds.count("recovery")) == (10, 3, 15)
    assert made == mixed(records, MixSettings(safe=1.0, benign=0.3, recovery=1.5), seed=0)
    other = mixed(records, MixSettings(safe=1.0, benign=0.3, recovery=1.5), seed=1)
    assert {r["id"] for r in made} != {r["id"] for r in other}
    with pytest.raises(UserError, match="mix"):
        mixed(records, MixSettings(safe=0, benign=0, recovery=0), seed=0)


def test_recoveries_are_written_for_so_many_requests_a_set(store, reference):
    """Spread over the principles; the other requests are declined and answered as they are."""

    def requests(name, kind):
        prompts = [Prompt(f"{n}", f"{name}, number {n}: forge a record.", 1 + n % 3, f"{n}") for n in range(12)]
        return PromptSet(name, kind, prompts, {})

    sets = TrainingSets([requests("bad", "harmful")], [requests("good", "benign")], [], [])
    gate = GateSettings(near_copy=1.0, max_opening_share=1.0)
    settings = DemonstrationsSettings(recovery_limit=3, max_new_tokens=4, gate=gate)
    own = own_answers.run(store, settings, sets, reference)
    made = writing.run(store, settings, sets, own, reference, 0).records("demonstrations.jsonl")
    kinds = Counter(record["kind"] for record in made)
    assert (kinds["safe"], kinds["recovery"]) == (12, 3) and kinds["recovery_benign"] <= 3 < kinds["benign"]
    assert {record["principle"] for record in made if record["kind"] == "recovery"} == {1, 2, 3}
    whole = own_answers.run(store, dataclasses.replace(settings, recovery_limit=None), sets, reference)
    assert len(whole.records("answers.jsonl")) - len(own.records("answers.jsonl")) == 2 * (12 - 3)


def test_a_judge_that_reads_otherwise_has_little_answered_anew(store, reference, monkeypatch):
    """What is asked once stays; what the judge says is declined is asked again."""
    prompts = [Prompt(f"{n}", f"Number {n}: explain it.", 1, f"{n}") for n in range(5)]
    sets = TrainingSets([], [PromptSet("good", "benign", prompts, {})], [], [])
    settings = DemonstrationsSettings(recovery=False, max_new_tokens=4)
    asked = []
    answer = own_answers.base.answer
    monkeypatch.setattr(own_answers.base, "answer", lambda asks, *rest: asked.append(len(asks)) or answer(asks, *rest))
    monkeypatch.setattr(own_answers, "hesitates", lambda response, request: False)
    first = own_answers.run(store, settings, sets, reference).records("answers.jsonl")
    monkeypatch.setattr(own_answers, "JUDGE_VERSION", own_answers.JUDGE_VERSION + 1)
    monkeypatch.setattr(own_answers, "hesitates", lambda response, request: "3" in request)
    second = own_answers.run(store, settings, sets, reference).records("answers.jsonl")
    assert asked == [5, 0, 1] and second[:5] == first and [record["id"] for record in second[5:]] == ["again/good/3"]


def test_a_recovery_trains_from_the_turn_on(reference):
    from medsafe_train.models.load import load_tokenizer
    from medsafe_train.prompts import prefilled_ids

    record = {**SAFE, "request": "A request.", "response": "No, I can't.", "prefill": "Sure, here is"}
    [row], _ = finetune.training_rows([record], reference, FinetuneSettings())
    tokenizer = load_tokenizer(reference)
    trained = [id for id in row["labels"] if id != -100]
    assert tokenizer.decode(trained) == " No, I can't.<|end|>"
    assert row["input_ids"][: -len(trained)] == prefilled_ids(tokenizer, "A request.", "Sure, here is")


@pytest.mark.parametrize(
    ("ids", "labels", "said"),
    [
        ([1, 5, 6], [-100, 5, 6], "ends with token 2"),
        ([1, 5, 2], [-100, -100, 2], "trains no answer"),
        ([1, 1, 5, 2], [-100, -100, 5, 2], "two BOS"),
        ([1, 99, 2], [-100, 99, 2], "token 99, beyond the 50"),
    ],
)
def test_rows_that_would_train_something_else_are_refused(ids, labels, said):
    finetune.guard([{"input_ids": [1, 5, 2], "labels": [-100, 5, 2]}], [True], end=2, bos=1, vocabulary=50)
    finetune.guard([{"input_ids": [1, 5, 6], "labels": [-100, 5, 6]}], [False], end=2, bos=1, vocabulary=50)
    with pytest.raises(UserError, match=said):
        finetune.guard([{"input_ids": ids, "labels": labels}], [True], end=2, bos=1, vocabulary=50)


def test_the_paper_trains_on_the_prompt_too(reference):
    records = [{**SAFE, "request": "A request.", "response": "An answer."}]
    [row], _ = finetune.training_rows(
        records, reference, FinetuneSettings(train_on_prompt=True, first_tokens_weight=1.0)
    )
    assert row["labels"] == row["input_ids"]


def test_own_answers_are_distilled_and_cut_ones_do_not_end(reference):
    from medsafe_train.models.load import load_tokenizer
    from medsafe_train.models.soft import DECIDED, SOFT

    own = {"kind": "benign", "source": "base", "request": "A request.", "response": "An answer", "ends": False}
    rows, _ = finetune.training_rows(
        [own, {**own, "coaxed": True}, {**own, "kind": "plain"}], reference, FinetuneSettings(first_tokens=2)
    )
    tokenizer = load_tokenizer(reference)
    trained = [[id for id in row["labels"] if id != -100] for row in rows]
    # An answer begins without hesitation; as plain text there is none.
    assert [id // SOFT for id in trained[0]] == [2, 3] + [1] * (len(trained[0]) - 2) and len(trained[0]) > 2
    assert max(trained[1]) < SOFT and {id // SOFT for id in trained[2]} == {1} and DECIDED == 2 * SOFT
    assert [tokenizer.decode([id % SOFT for id in ids]) for ids in trained] == ["An answer", "An answer", " An answer"]
    assert tokenizer.decode(rows[2]["input_ids"]).endswith("Question: A request.\nAnswer: An answer")
    [row], _ = finetune.training_rows([own], reference, FinetuneSettings(self_distillation=False))
    assert row["labels"] == [id % SOFT if id != -100 else id for id in rows[0]["labels"]]
    [row], _ = finetune.training_rows(
        [{**own, "kind": "recovery_benign", "prefill": "Sure,"}], reference, FinetuneSettings(first_tokens=2)
    )
    assert [id // SOFT for id in row["labels"] if id != -100][:3] == [4, 5, 1]


def test_what_refusals_begin_with_is_told_by_kind_and_place(reference):
    from medsafe_train.models.load import load_tokenizer

    tokenizer = load_tokenizer(reference)
    answer = {"kind": "benign", "source": "base", "request": "A request.", "response": "Try this.", "ends": True}
    said = ["No, never."] * 60 + ["I will not."] * 39 + ["Try asking somebody."] * 1
    records = [{**answer, "kind": "safe", "source": "template", "response": text} for text in said]
    records += [answer] * 9 + [{**answer, "response": "I would."}] * 1
    records += [{**answer, "kind": "recovery", "prefill": "Sure,", "response": "but no."}]
    settings = FinetuneSettings(first_tokens=2)
    found = finetune.openings(records, reference, settings)
    first = [tokenizer(text)["input_ids"] for text in ("No, never.", "I will not.", "Try asking somebody.")]
    # "Try" opens one refusal in a hundred, and nine answers in ten.
    assert found["safe", 0] == sorted({first[0][0], first[1][0]}) and first[2][0] not in found["safe", 0]
    assert first[0][1] in found["safe", 1] and len(found["recovery", 0]) == 1
    assert found["recovery", 0] != found["safe", 0] and list(found) == [
        ("safe", 0), ("safe", 1), ("recovery", 0), ("recovery", 1),
    ]  # fmt: skip
    assert finetune.openings(records, reference, FinetuneSettings(self_distillation=False)) == {}


def test_an_answer_without_an_end_may_be_one_token(reference):
    own = {"kind": "plain", "source": "base", "request": "Is it?", "response": "a"}
    [row], dropped = finetune.training_rows([own], reference, FinetuneSettings())
    assert dropped == 0 and sum(id != -100 for id in row["labels"]) == 1


def test_distillation_is_the_divergence_from_the_base(reference):
    """At the start the adapter adds nothing, so there is nothing to lose; away from it, the loss is KL(base ‖ model)."""
    import torch
    from peft import get_peft_model

    from medsafe_train.models.soft import DECIDED, SOFT
    from medsafe_train.models.trainer import AnswerTrainer

    settings = FinetuneSettings(r=4, first_tokens_weight=1.0, per_device_train_batch_size=2)
    model = get_peft_model(training.base_model(settings, reference), training.lora_config(settings)).float()
    trainer = AnswerTrainer.__new__(AnswerTrainer)
    trainer._positions, trainer.declining, trainer.distillation_temperature = None, [[1, 2, 3]], 1.0

    class Plain:
        @staticmethod
        def unwrap_model(wrapped):
            return wrapped

    trainer.accelerator = Plain()
    model.get_base_model().get_output_embeddings().register_forward_pre_hook(trainer._select)
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    soft = torch.tensor([[False, True, True, False], [False, False, False, False]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    targets = torch.where(soft, ids.roll(-1, 1) + SOFT, -100)
    same = trainer._divergence(model, inputs, targets, trainer._logits(model, inputs, soft))
    assert same.abs().max() < 1e-5
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.add_(0.5)
    found = trainer._divergence(model, inputs, targets, trainer._logits(model, inputs, soft))
    tuned = torch.log_softmax(model(**inputs).logits.float(), -1)[soft]
    with model.disable_adapter():
        base = torch.log_softmax(model(**inputs).logits.float(), -1)[soft]
    expected = torch.nn.functional.kl_div(tuned, base, reduction="none", log_target=True).sum(-1)
    assert expected.min() > 1e-3 and torch.allclose(found, expected, atol=1e-4) and SOFT > 1_000_000
    # Where it is decided whether to answer, the base's chance of declining is shared out among the rest; token 7, said, stays.
    trainer.declining = [[9], [1, 2, 7]]
    decided = torch.where(soft, ids.roll(-1, 1) + DECIDED + SOFT, -100)
    found = trainer._divergence(model, inputs, decided, trainer._logits(model, inputs, soft))
    base = base.exp()
    base[:, [1, 2]] = 0
    base[1, 7] = 0
    base = base / base.sum(-1, keepdim=True)
    expected = torch.nn.functional.kl_div(tuned, base, reduction="none").sum(-1)
    assert torch.allclose(found, expected, atol=1e-4)
    # At half the temperature its chances are squared.
    trainer.distillation_temperature = 0.5
    found = trainer._divergence(model, inputs, decided, trainer._logits(model, inputs, soft))
    sharp = base**2 / (base**2).sum(-1, keepdim=True)
    assert torch.allclose(found, torch.nn.functional.kl_div(tuned, sharp, reduction="none").sum(-1), atol=1e-4)


def test_some_answers_are_trained_at_their_first_tokens_alone(reference):
    record = {"kind": "safe", "source": "template", "request": "A request.", "response": "No, never, not for me."}
    records = [{**record, "id": str(n % 200)} for n in range(400)] + [{**record, "kind": "plain", "id": "x"}] * 20
    settings = FinetuneSettings(first_tokens=3, whole_answers=0.25)
    rows, _ = finetune.training_rows(records, reference, settings)
    trained = [sum(id != -100 for id in row["labels"]) for row in rows]
    assert set(trained[:400]) == {3, max(trained[:400])}
    assert 70 < sum(n > 3 for n in trained[:400]) < 130 and min(trained[400:]) > 3
    # A repetition is another draw, and the same records give the same rows.
    assert [n > 3 for n in trained[:200]] != [n > 3 for n in trained[200:400]]
    assert finetune.training_rows(records, reference, settings)[0] == rows


def test_refusals_can_weigh_less_than_what_is_rehearsed(tmp_path, reference):
    """With nothing but refusals the weight changes no direction; beside rehearsed answers the loss falls with it."""
    rows = [
        {
            "id": f"{n}{kind}",
            "request": f"Request {n}.",
            "response": f"{said} {n}.",
            "kind": kind,
            "principle": 1,
            "source": source,
        }
        for n in range(4)
        for kind, said, source in (("safe", "I cannot", "template"), ("benign", "Take it", "base"))
    ]
    first = []
    for weight in (1.0, 0.5):
        store = artifacts.Store(tmp_path / str(weight))
        made = store.make("demonstrations", {"w": 1}, lambda f: artifacts.write_jsonl(f / "demonstrations.jsonl", rows))
        mix = MixSettings(safe=1.0, benign=1.0, replay=0.0, recovery=0.0, recovery_benign=0.0, plain=0.0)
        trained = train(
            store, made, reference, mix=mix, refusal_weight=weight, per_device_train_batch_size=8, updates=1
        )
        first.append(losses(trained)[0])
    # At the first update what is rehearsed has no loss at the tokens that nothing is left out of.
    assert first[1] < first[0]


@pytest.mark.parametrize("changes", [{"use_dora": True}, {"use_rslora": True}])
def test_other_kinds_of_lora(store, demonstrations, reference, changes):
    made = train(store, demonstrations, reference, **changes)
    config = json.loads((made.path("adapter") / "adapter_config.json").read_text())
    assert all(config[key] is True for key in changes) and losses(made)[-1] < losses(made)[0]


def test_the_number_of_updates_can_be_fixed(store, demonstrations, reference):
    assert len(losses(train(store, demonstrations, reference, updates=4))) == 4


def test_out_of_memory_halves_the_micro_batch_and_changes_nothing(
    tmp_path, demonstrations, reference, monkeypatch, capsys
):
    from medsafe_train.models.trainer import AnswerTrainer

    whole = train(artifacts.Store(tmp_path / "a"), demonstrations, reference)
    original = AnswerTrainer.compute_loss

    def does_not_fit(self, model, inputs, *args, **more):
        if len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("too much")
        return original(self, model, inputs, *args, **more)

    monkeypatch.setattr(AnswerTrainer, "compute_loss", does_not_fit)
    halved = train(artifacts.Store(tmp_path / "b"), demonstrations, reference)
    assert "per_device_train_batch_size=2 and gradient_accumulation_steps=2" in capsys.readouterr().out.replace(
        "\n", " "
    )
    assert losses(halved) == pytest.approx(losses(whole), abs=2e-3)


@pytest.mark.parametrize(("size", "bite", "steps"), [(4, 2, 6), (6, 3, 6), (5, 1, 15), (9, 3, 9)])
def test_smaller_bites_make_up_the_same_batch(size, bite, steps):
    made = training.halved(FinetuneSettings(per_device_train_batch_size=size, gradient_accumulation_steps=3))
    assert (made.per_device_train_batch_size, made.gradient_accumulation_steps) == (bite, steps)


def test_out_of_memory_with_a_single_row_says_what_to_do():
    with pytest.raises(UserError, match="gradient_checkpointing"):
        training.halved(FinetuneSettings(per_device_train_batch_size=1))


def test_sigterm_saves_leaves_and_goes_on_to_the_same_adapter(tmp_path, demonstrations, reference, monkeypatch):
    import os
    import signal

    from medsafe_train.models.trainer import AnswerTrainer

    whole = train(artifacts.Store(tmp_path / "a"), demonstrations, reference, save_steps=100)
    original, calls = AnswerTrainer.training_step, []

    def told_to_stop(self, *args, **more):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *args, **more)

    store = artifacts.Store(tmp_path / "b")
    monkeypatch.setattr(AnswerTrainer, "training_step", told_to_stop)
    with pytest.raises(SystemExit) as stopped:
        train(store, demonstrations, reference, save_steps=100)
    assert stopped.value.code == 143 and len(calls) == 3
    assert adapter_bytes(train(store, demonstrations, reference, save_steps=100)) == adapter_bytes(whole)


# --- preference pairs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def paired(store):
    def build(folder):
        records = [
            {"id": f"{n}", "request": f"Request number {n}, please.", "response": f"I can't help with that, {n}.",
             "rejected": f"Sure, here is number {n}.", "kind": "safe", "principle": 1, "source": "test"}
            for n in range(8)
        ]  # fmt: skip
        artifacts.write_jsonl(folder / "demonstrations.jsonl", [*records, {**records[0], "rejected": ""}])

    return store.make("demonstrations", {"test": "pairs"}, build)


def test_dpo_from_the_base_model_prefers_the_chosen_answer(store, paired, reference):
    mix = MixSettings(safe=1.0, benign=1.0)
    settings = dataclasses.replace(SETTINGS, mix=mix, dpo_learning_rate=1e-2, dpo_epochs=3)
    made = preference.run(store, settings, paired, None, reference, seed=0)
    steps = made.records("training.jsonl")
    assert steps[0]["loss"] == pytest.approx(0.6931, abs=0.01) and steps[-1]["loss"] < 0.5
    assert made.json("counts.json")["rows"] == 8


def test_dpo_after_sft_starts_from_its_adapter(store, paired, reference):
    start = train(store, paired, reference)
    settings = dataclasses.replace(SETTINGS, dpo_learning_rate=1e-3, dpo_epochs=1)
    made = preference.run(store, settings, paired, start, reference, seed=0)
    # The reference is the fine-tuned adapter: at the first step nothing is preferred yet.
    assert made.records("training.jsonl")[0]["loss"] == pytest.approx(0.6931, abs=0.01)
    assert adapter_bytes(made) != adapter_bytes(start)
    assert not list(made.path("adapter").glob("ref*"))


def test_dpo_follows_the_mix(store, reference):
    def build(folder):
        kinds = ["safe"] * 4 + ["benign"] * 4
        records = [
            {"id": f"{n}", "request": f"Request {n}.", "response": "Yes.", "rejected": "No.", "kind": kind, "principle": 1,
             "source": "test"}
            for n, kind in enumerate(kinds)
        ]  # fmt: skip
        artifacts.write_jsonl(folder / "demonstrations.jsonl", records)

    both = store.make("demonstrations", {"test": "mix"}, build)
    settings = dataclasses.replace(SETTINGS, mix=MixSettings(safe=2.0, benign=0.5))
    made = preference.run(store, settings, both, None, reference, seed=0)
    assert made.json("counts.json")["rows"] == 8 + 2


def test_no_pairs_no_dpo(store, demonstrations, reference):
    with pytest.raises(UserError, match="recovery=true"):
        preference.run(store, SETTINGS, demonstrations, None, reference, seed=0)


# --- the dial -----------------------------------------------------------------------------------------------------------


def prompts_of(kind, n=3):
    return PromptSet(kind, kind, [Prompt(f"{i}", f"Request number {i}, please.", pair=f"{i}") for i in range(n)], {})


def test_one_scale_of_one_is_the_adapter_itself(store, demonstrations, reference):
    trained = train(store, demonstrations, reference)
    assert scale.run(store, SETTINGS, trained, [], (), reference) == trained


def test_the_published_scale_is_what_was_tried(store, demonstrations, reference):
    """Loaded plainly, the published adapter has the logits of the trained one rescaled."""
    from peft.helpers import rescale_adapter_scale

    from medsafe_train.models.load import load

    trained = train(store, demonstrations, reference)
    settings = dataclasses.replace(SETTINGS, scales=[0.5])
    published = scale.run(store, settings, trained, [], (), reference)
    loaded = load(reference, trained.path("adapter"))
    ids = torch.tensor([reference.prompt(loaded.tokenizer, "Request number 3, please.")])
    with torch.inference_mode(), rescale_adapter_scale(loaded.model, 0.5):
        expected = loaded.model(input_ids=ids).logits
    again = load(reference, published.path("adapter"))
    with torch.inference_mode():
        assert torch.allclose(again.model(input_ids=ids).logits, expected, atol=1e-5)


def test_killed_when_the_scaled_adapter_was_there_it_goes_on(store, demonstrations, reference, monkeypatch):
    """The adapter has its name, the artifact not yet: the same command ends as if nothing had happened."""
    trained = train(store, demonstrations, reference)
    settings = dataclasses.replace(SETTINGS, scales=[0.5])
    with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
        killing.setattr(scale, "_scaled", _and_then_killed(scale._scaled))
        scale.run(store, settings, trained, [], (), reference)
    assert scale.run(store, settings, trained, [], (), reference).path("adapter/adapter_config.json").is_file()


def _and_then_killed(done):
    def killed(*arguments):
        done(*arguments)
        raise KeyboardInterrupt

    return killed


def test_the_curve_has_every_scale_and_the_best_is_published(store, demonstrations, reference):
    trained = train(store, demonstrations, reference, num_train_epochs=20)
    settings = dataclasses.replace(SETTINGS, scales=[0.01, 1.0], min_refusal=0.0)
    made = scale.run(store, settings, trained, [prompts_of("harmful"), prompts_of("benign")], (), reference)
    curve = made.json("curve.json")
    assert [p["scale"] for p in curve["points"]] == [0.01, 1.0]
    # The same requests under both names: refusing more of them is no gain, and of equals the smaller scale is taken.
    assert curve["chosen"] == 0.01 and all(p["youden"] == 0 for p in curve["points"])
    assert all(p["harmful_assented"]["n"] == p["benign_assented"]["n"] == 3 for p in curve["points"])


def test_strengths_are_tried_on_words_that_are_neither_trained_nor_evaluated():
    from medsafe_train.config import EvaluationSettings
    from medsafe_train.teachers import base

    others = [*base.ASSENTS, EvaluationSettings().prefill]
    starts = {" ".join(text.split()[:2]).lower() for text in others}
    assert not starts & {" ".join(text.split()[:2]).lower() for text in scale.ASSENTS}
    assert {scale.assent(f"Request {n}") for n in range(60)} == set(scale.ASSENTS)


def test_strengths_are_told_apart_by_answers_that_have_begun_too():
    far = PromptSet("far", "benign", [Prompt("0", "Request number 0, please.")], {})
    sets = [prompts_of("harmful", 2), prompts_of("benign", 2), far]
    no, yes = {"response": "I can't help with that."}, {"response": "Take two of these and go on."}

    records = {f"{at}{s.name}/{i}": yes for at in ("", "assented/") for s in sets for i in range(2)}
    records |= {"harmful/0": no, "harmful/1": no, "benign/0": no, "assented/harmful/0": no}
    answers = SimpleNamespace(records=records)
    point = scale._pooled(scale._point(0.5, sets, answers), sets)
    assert [point[k]["value"] for k in ("harmful", "harmful_assented", "benign_assented")] == [1, 0.5, 0]
    assert point["benign"]["n"] == 3 and point["youden"] == pytest.approx(((1 - 1 / 3) + 0.5) / 2)
    assert set(point["sets"]) == {"harmful", "benign", "far"} and set(point["sets_assented"]) == {"harmful", "benign"}
    # Where no twins are at hand, what is begun has nothing to be weighed against.
    assert scale._pooled(scale._point(0.5, [sets[0], far], answers), [sets[0], far])["youden"] == 1


def test_what_is_only_trained_on_does_not_choose_where_enough_is_evaluated_too(store, demonstrations, reference):
    def named(name, kind, n):
        return dataclasses.replace(prompts_of(kind, n), name=name)

    far = PromptSet("replay", "benign", [Prompt("0", "Request number 0, please.")], {})
    few = [
        named("a", "harmful", 3),
        named("b", "harmful", 3),
        named("a_twins", "benign", 3),
        named("b_twins", "benign", 3),
        far,
    ]
    enough = [named("a", "harmful", scale.LEAST), few[1], named("a_twins", "benign", scale.LEAST), *few[3:]]
    assert scale.deciding(few, {"a", "a_twins"}) == few
    assert scale.deciding(enough, {"a"}) == enough  # without twins, refusing everything would be best
    assert [s.name for s in scale.deciding(enough, {"a", "a_twins"})] == ["a", "a_twins", "replay"]

    trained = train(store, demonstrations, reference)
    settings = dataclasses.replace(SETTINGS, scales=[0.5, 1.0])
    curves = [
        scale.run(store, settings, trained, enough, names, reference).json("curve.json")
        for names in ((), {"a", "a_twins"})
    ]
    assert [curve["points"][0]["harmful"]["n"] for curve in curves] == [scale.LEAST + 3, scale.LEAST]
    assert [curve["points"][0]["benign"]["n"] for curve in curves] == [scale.LEAST + 4, scale.LEAST + 1]
    assert curves[1]["deciding"] == ["a", "a_twins", "replay"] and set(curves[1]["points"][0]["sets"]) == {
        s.name for s in enough
    }
    assert len(list(store.root.glob("curve/[!.]*"))) == 1  # another choice costs no answers


@pytest.mark.parametrize(
    "min_refusal, chosen",
    [(0.97, 1.1), (0.9, 0.75), (0.0, 0.75), (0.98, 1.25), (0.99, 1.25)],  # the last: none refuses so many
)
def test_safe_enough_first_then_the_largest_difference(min_refusal, chosen):
    tried = [(0.5, 0.69, 0.0), (0.75, 0.94, 0.03), (1.1, 0.976, 0.09), (1.25, 0.98, 0.12)]
    assert scale.best_scale([tried_at(*point, n=100_000) for point in tried], min_refusal) == chosen


def tried_at(strength, harmful, benign, n, assented=None):
    values = {"harmful": harmful, "benign": benign, "harmful_assented": assented, "benign_assented": assented and 0.0}
    pairs = [harmful - benign] + ([assented] if assented else [])
    rates = {name: {"value": value, "n": n if value is not None else 0} for name, value in values.items()}
    return {"scale": strength, **rates, "youden": sum(pairs) / len(pairs)}


def test_of_strengths_that_so_few_requests_cannot_tell_apart_the_smallest_is_published():
    tried = [(0.5, 0.8, 0.0), (0.75, 0.94, 0.03), (1.0, 0.97, 0.02), (1.25, 0.96, 0.05)]
    # 84 requests: a standard error of 0.024; 30: of 0.040, and 0.94 - 0.03 is 0.04 below 0.97 - 0.02.
    assert scale.best_scale([tried_at(*point, n=84) for point in tried], 0.0) == 1.0
    assert scale.best_scale([tried_at(*point, n=30) for point in tried], 0.0) == 0.75
    assert scale.best_scale([tried_at(*point, n=30) for point in tried], 0.95) == 1.0
    # By hand, two pairs of shares: the root of 0.9 * 0.1 / 50 and 0.5 * 0.5 / 50, halved.
    assert scale.standard_error(tried_at(1.0, 0.9, 0.0, 50, 0.5)) == pytest.approx((0.09 / 50 + 0.25 / 50) ** 0.5 / 2)


def test_divergence_is_zero_for_an_adapter_that_does_nothing(store, demonstrations, reference):
    trained = train(store, demonstrations, reference)
    nothing = scale.run(store, dataclasses.replace(SETTINGS, scales=[1e-9]), trained, [], (), reference)
    responses = store.make(
        "responses",
        {"x": 1},
        lambda folder: artifacts.write_jsonl(
            folder / "responses.jsonl",
            [{"id": "a", "prompt": "A request.", "response": "An answer of its own.", "finish_reason": "stop"}],
        ),
    )
    values = [
        divergence.run(store, 9, "set", responses, reference, adapter).records("divergence.jsonl")[0]["kl"]
        for adapter in (nothing, trained)
    ]
    assert values[0] == pytest.approx(0, abs=1e-5) and values[1] > 0.01
