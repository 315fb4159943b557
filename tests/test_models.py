"""Loading, refusing broken models, answering in batches, log-likelihoods."""

import dataclasses
import json
import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from medsafe_train import prompts, question_prompts
from medsafe_train.artifacts import Ledger
from medsafe_train.config import Device, ModelSettings, UserError
from medsafe_train.models import generate
from medsafe_train.models.load import load, load_tokenizer, release
from medsafe_train.models.reference import check_folder, choose_device, fingerprint_folder, packaged, resolve
from medsafe_train.sources.questions import Benchmark, Question
from tests.conftest import run_process


@pytest.fixture
def copy(tiny, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    return folder


@pytest.mark.parametrize(
    ("gone", "words"),
    [("model.safetensors", "no weights"), ("tokenizer.json", "no tokenizer"), ("config.json", r"no config\.json")],
)
def test_a_folder_that_is_no_whole_model(refused, copy, gone, words):
    (copy / gone).unlink()
    with pytest.raises(UserError, match=words):
        check_folder(copy)
    assert str(copy) in refused("+recipe=smoke", f"model.path={copy}")


def test_an_empty_eos_token(refused, copy):
    config = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": ""}))
    assert "EOS token is empty" in refused("+recipe=smoke", f"model.path={copy}")
    assert "no such token" in refused("+recipe=smoke", f"model.path={copy}", "model.eos_token='</s>'")


def test_an_eos_token_that_is_named_in_its_place(copy, change):
    config = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": ""}))
    assert load_tokenizer(change(folder=str(copy), eos_token="<|end|>")).eos_token == "<|end|>"


def test_a_padding_token_beyond_the_embedding_is_not_used(copy, change):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.add_special_tokens({"pad_token": "<PAD>"})
    tokenizer.save_pretrained(copy)
    assert tokenizer.pad_token_id == json.loads((copy / "config.json").read_text())["vocab_size"]
    assert load_tokenizer(change(folder=str(copy))).pad_token == "<|end|>"


def test_token_ids_beyond_the_embedding(refused, copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "vocab_size": 3}))
    assert "beyond the 3 rows of the embedding" in refused("+recipe=smoke", f"model.path={copy}")


def test_a_prompt_longer_than_the_context(refused, copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 40}))
    line = refused("+recipe=smoke", f"model.path={copy}")
    assert "context has 40" in line and "shorten" in line


def test_a_question_that_fits_by_its_options_and_not_with_a_written_answer(refused, reference, tmp_path):
    tokenizer, made = load_tokenizer(reference), Benchmark("mine", "medqa", False, [], {}, "", "")
    sized = (Question("long", "? " * n + "?", ("a", "b"), 0) for n in range(400, 1024))
    length = lambda one: len(question_prompts.ask(tokenizer, made, one, [], chat=True).context)  # noqa: E731
    question = next(one for one in sized if length(one) >= 1010)
    (tmp_path / "mine.jsonl").write_text(
        json.dumps({"id": "long", "question": question.question, "options": ["a", "b"], "answer": "A"})
    )
    asked = ("+recipe=smoke", f"model.path={reference.folder}", f"medical_qa.benchmarks=[{tmp_path / 'mine.jsonl'}]")
    line = refused(*asked, "medical_qa.generation=true")
    assert "mine long: the question and a written answer take" in line and "context has 1024: set medical_qa" in line


def test_weights_that_are_cut_short(refused, copy):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "cut short" in refused("+recipe=smoke", f"model.path={copy}")
    file.write_bytes(b"\xff" * 50)
    assert "cut short" in refused("+recipe=smoke", f"model.path={copy}")


def test_a_tokenizer_that_cannot_be_read(refused, copy):
    (copy / "tokenizer.json").write_text("{")
    assert "cannot be read" in refused("+recipe=smoke", f"model.path={copy}")


def hub(status, headers):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [(403, "GatedRepo", "is gated on the Hub"), (404, "RepoNotFound", "no such model on the Hub")],
)
def test_gated_and_unknown_models_on_the_hub(tmp_path, status, code, words):
    """Against a server that answers as the Hub does."""
    server = hub(status, {"X-Error-Code": code, "X-Error-Message": "no"})
    env = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf"),
    }
    done = run_process("+recipe=smoke", "model.path=some/model", f"outputs={tmp_path / 'o'}", env=env)
    server.shutdown()
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_network_and_not_in_the_cache(refused):
    line = refused("+recipe=smoke", "model.path=some/model")
    assert "cannot be reached" in line and "local folder" in line


def test_the_fingerprint_of_a_folder_follows_its_contents(tiny, copy):
    assert fingerprint_folder(copy) == fingerprint_folder(tiny)
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    assert fingerprint_folder(copy) != fingerprint_folder(tiny)


def test_resolving_a_folder_records_neither_its_place_nor_the_users_name(store, copy):
    found = resolve(store, ModelSettings(path=str(copy)), "cpu", 0)
    assert found.path == "model" and str(copy.parent) not in json.dumps(found.made_from())


def test_device():
    assert choose_device(Device.cpu) == "cpu"
    assert packaged("no/such") is None


PROMPTS = ["Hi", "How can a nurse keep records honest?", "Draft a letter", "a b c d e f g h i j k", "?"] * 3


def items(loaded, reference):
    return [(f"{n}", reference.prompt(loaded.tokenizer, text + str(n))) for n, text in enumerate(PROMPTS)]


def test_batched_answers_equal_single_ones(reference, tmp_path):
    loaded = load(reference)
    together, alone = Ledger(tmp_path / "a"), Ledger(tmp_path / "b")
    generate.answer(loaded, items(loaded, reference), 12, 4096, together, "")
    generate.answer(loaded, items(loaded, reference), 12, 1, alone, "")
    assert together.records == alone.records and len(together.records) == len(PROMPTS)


def test_batches_stay_within_their_budget():
    given = [(str(n), [0] * (1 + n * 7 % 50)) for n in range(100)]
    for extra, budget in ((10, 200), (0, 50), (5, 1)):
        found = generate.batches(given, extra, budget)
        assert sorted(id for batch in found for id, _ in batch) == sorted(id for id, _ in given)
        for batch in found:
            assert len(batch) == 1 or len(batch) * (max(len(ids) for _, ids in batch) + extra) <= budget


def test_an_answer_ends_where_the_model_ends_it(reference, tmp_path):
    loaded = load(reference)
    ledger = Ledger(tmp_path / "a")
    generate.answer(loaded, items(loaded, reference)[:3], 5, 4096, ledger, "")
    assert all(record["finish_reason"] == "length" for record in ledger.records.values())
    # The first token that the model chooses, declared an end: every answer is then empty and finished.
    first = generate.generate(loaded, [items(loaded, reference)[0][1]], 1)[0][0]
    import dataclasses

    ended = dataclasses.replace(loaded, stop_ids=(first,))
    again = Ledger(tmp_path / "b")
    generate.answer(ended, items(loaded, reference)[:1], 5, 4096, again, "")
    assert again.records["0"] == {"id": "0", "response": "", "finish_reason": "stop"}


def test_a_thought_is_no_part_of_an_answer_and_kept(reference, tmp_path, monkeypatch):
    """Said by a model here, only what it or its template begins is a thought: an end alone hides nothing that was said."""
    loaded = load(reference)
    ends = next(iter(loaded.stop_ids))
    said = {
        "<think>Steal it.</think>I can't help.": ("I can't help.", "Steal it."),
        "Steal it.\n<think></think>I can't help.": ("Steal it.\n<think></think>I can't help.", None),
        "<think>Hm": ("", "Hm"),
        "Sure. Crush 40.</think> I can't help.": ("Sure. Crush 40.</think> I can't help.", None),
        "No.": ("No.", None),
    }
    ids = [loaded.tokenizer(text, add_special_tokens=False)["input_ids"] + [ends] for text in said]
    monkeypatch.setattr(generate, "generate", lambda *_: ids)
    ledger = Ledger(tmp_path / "a")
    generate.answer(loaded, [(str(n), [1]) for n in range(len(ids))], 5, 4096, ledger, "")
    found = [(r["response"], r.get("thought")) for r in (ledger.records[str(n)] for n in range(len(ids)))]
    assert found == list(said.values())


@pytest.mark.parametrize(("after", "opened"), [
    ("", False), ("<think>\n", True), ("<think>\n\n</think>\n\n", False), ("<think></think><think>", True),
])  # fmt: skip
def test_a_thought_that_the_template_begins_is_known_whatever_the_request_and_a_begun_answer_hold(
    reference, tmp_path, monkeypatch, after, opened
):
    loaded = load(reference)
    tokenizer = load_tokenizer(reference)
    tokenizer.chat_template = (
        "{{ messages[0]['content'] }}{% if add_generation_prompt %} Answer: " + after + "{% endif %}"
    )
    monkeypatch.setattr(generate, "generate", lambda _, asked, *__: [tokenizer("Steal.</think>No.")["input_ids"]])
    turns = [
        prompts.Turn("plain", "Hello"),
        prompts.Turn("begun", "Hello", "Sure, here is how: " * 9, 40),
        prompts.Turn("tag", "Hello <think>"),
    ]
    ledger = Ledger(tmp_path / "a")
    for turn in turns:
        generate.answer(
            dataclasses.replace(loaded, tokenizer=tokenizer), [(turn.id, turn.ids(tokenizer))], 5, 4096, ledger, ""
        )
    expected = ("No.", "Steal.") if opened else ("Steal.</think>No.", None)
    assert {(r["response"], r.get("thought")) for r in ledger.records.values()} == {expected}
    # A medical question in plain text does not go through the template.
    text = tokenizer("Question: What? <think>\nAnswer:")["input_ids"]
    generate.answer(dataclasses.replace(loaded, tokenizer=tokenizer), [("q", text)], 5, 4096, ledger, "")
    assert ledger.records["q"]["response"] == "Steal.</think>No."


def test_answering_goes_on_after_a_stop_and_ends_the_same(reference, tmp_path):
    loaded = load(reference)
    whole = Ledger(tmp_path / "whole")
    generate.answer(loaded, items(loaded, reference), 6, 200, whole, "")
    torn = tmp_path / "torn"
    torn.write_bytes(b"\n".join((tmp_path / "whole").read_bytes().split(b"\n")[:4]) + b'\n{"id": "')
    resumed = Ledger(torn)
    assert len(resumed.records) == 4
    generate.answer(loaded, items(loaded, reference), 6, 200, resumed, "")
    assert resumed.records == whole.records


def test_only_one_model_is_in_memory(reference, change):
    from medsafe_train.models import load as room

    first = load(reference)
    assert load(reference) is first
    load(change(system_prompt="other"))
    assert len(room._last) == 1
    release()
    assert not room._last


def test_the_tokenizer_pads_on_the_left_and_has_a_pad_token(reference):
    tokenizer = load_tokenizer(reference)
    assert tokenizer.padding_side == "left" and tokenizer.pad_token
