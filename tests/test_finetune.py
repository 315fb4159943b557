"""Fine-tuning on a tiny Llama through the real transformers, TRL and PEFT."""

import dataclasses
import json

import pytest
import torch

from medsafe_train import artifacts
from medsafe_train.config import FinetuneSettings, UserError
from medsafe_train.models.trainer import answer_weights
from medsafe_train.stages import checkpoint, finetune

SETTINGS = FinetuneSettings(
    r=4,
    lora_alpha=8,
    learning_rate=1e-2,
    num_train_epochs=2,
    per_device_train_batch_size=4,
    warmup_steps=0,
    max_length=256,
    save_steps=2,
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
    tokenizer = AutoTokenizer.from_pretrained(merged_into.path("merged"))
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Request number 3, please."}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    out = merged.float().generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :].tolist()
    loaded = load(reference, made.path("adapter"))
    expected = generate(loaded, [reference.prompt(loaded.tokenizer, "Request number 3, please.")], 12)[0]
    assert out == expected[: len(out)]


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


def test_weights_change_what_is_learned(tmp_path, demonstrations, reference):
    plain = train(artifacts.Store(tmp_path / "a"), demonstrations, reference)
    weighed = train(artifacts.Store(tmp_path / "b"), demonstrations, reference, first_tokens_weight=10.0)
    assert adapter_bytes(plain) != adapter_bytes(weighed)


@pytest.mark.parametrize(("stop_after", "quantization"), [(2, "none"), (3, "none"), (3, "nf4")])
def test_a_killed_run_goes_on_and_ends_with_the_same_adapter(
    tmp_path, demonstrations, change, monkeypatch, stop_after, quantization
):
    from medsafe_train.models.trainer import AnswerTrainer

    model = change(quantization=quantization, dtype="float32" if quantization == "none" else "bfloat16")
    whole = train(artifacts.Store(tmp_path / "a"), demonstrations, model)
    original, calls = AnswerTrainer.training_step, []

    def dies(self, *args, **more):
        calls.append(1)
        if len(calls) > stop_after:
            raise KeyboardInterrupt
        return original(self, *args, **more)

    store = artifacts.Store(tmp_path / "b")
    monkeypatch.setattr(AnswerTrainer, "training_step", dies)
    with pytest.raises(KeyboardInterrupt):
        train(store, demonstrations, model)
    monkeypatch.setattr(AnswerTrainer, "training_step", original)
    resumed = train(store, demonstrations, model)
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


def test_a_half_written_checkpoint_is_not_used(tmp_path):
    for step, state in ((2, "{}"), (4, '{"global_step"'), (10, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert finetune.last_checkpoint(tmp_path).name == "checkpoint-2"
    assert not (tmp_path / "checkpoint-10").exists()


def test_rows_train_the_answer_and_its_end_only(reference):
    records = [{"request": "A request.", "response": "An answer."}, {"request": "x" * 400, "response": "Too long."}]
    rows, dropped = finetune.training_rows(records, reference, 64)
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
    assert merged_into.json("merge_check.json")["dtype"] == "bfloat16"
