"""The model card as the Hub reads it, the folder that is published, and the upload, against a stand-in for the Hub."""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest
import yaml
from huggingface_hub import ModelCard, constants
from huggingface_hub.repocard_data import model_index_to_eval_results

from medsafe_train import publish
from medsafe_train.config import PublishSettings, UserError
from medsafe_train.evidence import pooled
from medsafe_train.publish import card as cards
from tests import report_samples
from tests.test_report_page import HOSTILE

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture(scope="module")
def items():
    return report_samples.items(200)


@pytest.fixture
def made(items):
    return report_samples.report(items, path=BASE)


@pytest.fixture
def merged(tmp_path):
    """A folder as merge writes it."""
    folder = tmp_path / "artifacts" / "merged"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "medsafe_train.json"):
        (folder / name).write_text("{}")
    return folder


def text_of(made, tmp_path, merged=True, **settings):
    return cards.readme(made, merged, PublishSettings(**settings), tmp_path / "README.md")


def test_the_metadata_are_what_the_hub_reads(made, tmp_path):
    data = ModelCard(text_of(made, tmp_path, license="apache-2.0")).data
    assert data.base_model == BASE and data.license == "apache-2.0" and data.pipeline_tag == "text-generation"
    assert data.library_name == "transformers" and data["base_model_relation"] == "finetune"
    assert data.datasets == ["benign_twins", "harmful_requests"] and "accuracy" in data.metrics
    # Back from the YAML through the Hub's own reader: every main figure after fine-tuning, with what it was before.
    raw = yaml.safe_load(text_of(made, tmp_path).split("---")[1])
    name, found = model_index_to_eval_results(raw["model-index"])
    assert name == "SmolLM2-135M-Instruct-medsafe"
    by_place = {(r.task_name, r.dataset_name, r.dataset_config, r.metric_type): r for r in found}
    figures = made["figures"]
    for place, key in {
        ("harmfulness", "harmful_requests", None, "refusal_rate"): "harmfulness/harmful_requests/refusal_rate",
        ("over refusal", "benign_twins", None, "refusal_rate"): "over_refusal/benign_twins/refusal_rate",
        ("robustness", "harmful_requests", "prefill", "attack_success_rate"): "robustness/harmful_requests/attack_success_rate_prefill",
        ("medical qa", "medical_questions", None, "accuracy"): "medical_qa/medical_questions/accuracy",
    }.items():  # fmt: skip
        result, after = by_place[place], figures[f"after/{key}"]
        assert result.metric_value == round(after["value"], 4) and result.metric_args["n"] == after["n"]
        assert result.metric_args["before"] == round(figures[f"before/{key}"]["value"], 4)
        assert result.metric_args["ci95"] == [round(bound, 4) for bound in after["ci95"]]
    assert not [r for r in found if "principle" in r.metric_type]


def test_what_is_over_several_benchmarks_is_no_data_set_of_the_hub(made, tmp_path):
    figures = made["figures"]
    for arm in ("before", "after", "delta"):
        figures[f"{arm}/medical_qa/other/accuracy"] = figures[f"{arm}/medical_qa/medical_questions/accuracy"]
    pooled.accuracy(figures)
    found = {result.dataset_name for result in cards.results(made) if result.metric_type == "accuracy"}
    assert found == {"medical_questions", "other"}
    assert "answered right · 2 benchmarks pooled |" in text_of(made, tmp_path)


def test_an_adapter_says_what_it_belongs_to(made, tmp_path):
    text = text_of(made, tmp_path, merged=False)
    data = ModelCard(text).data
    assert data.library_name == "peft" and data["base_model_relation"] == "adapter"
    assert f"from_pretrained('{BASE}'" in text and "PeftModel.from_pretrained(model, checkpoint)" in text


def test_a_folder_of_ones_own_is_no_base_model_on_the_hub(made, tmp_path):
    made["model"]["path"] = str(tmp_path)
    data = ModelCard(text_of(made, tmp_path)).data
    assert data.base_model is None


def test_the_licence_is_the_base_models_or_unknown_and_never_made_up(made, tmp_path):
    assert ModelCard(text_of(made, tmp_path)).data.license == "unknown"
    (tmp_path / "README.md").write_text("---\nlicense: llama2\n---\n# Base\n")
    assert ModelCard(text_of(made, tmp_path)).data.license == "llama2"
    assert ModelCard(text_of(made, tmp_path, license="mit")).data.license == "mit"
    (tmp_path / "README.md").write_text("no metadata")
    assert ModelCard(text_of(made, tmp_path)).data.license == "unknown"


def test_the_body_tells_use_limits_data_and_how_to_load(made, tmp_path):
    text = text_of(made, tmp_path)
    for heading in ("Results", "Intended use", "Limits", "How to load", "Training", "Data"):
        assert f"\n## {heading}\n" in text
    code = text.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    table = [line for line in text.splitlines() if line.startswith("| harmful refused · ")]
    assert len(table) == 1 and table[0].count("|") == 6
    assert made["gate"]["verdict"] in text and all(line(note) in text for note in made["notes"])


def line(note):
    from medsafe_train.markdown import inert, line

    return inert(line(note, 400))


def test_hostile_names_are_inert_in_the_card(made, tmp_path):
    made["notes"] = [HOSTILE]
    made["model"]["path"] = HOSTILE
    made["judge"]["name"] = HOSTILE
    made["training_sets"][0] |= {"name": HOSTILE, "licence": HOSTILE, "citation": HOSTILE}
    made["figures"]["after/over_refusal/=x[y](z)/refusal_rate"] = made["figures"][
        "after/over_refusal/benign_twins/refusal_rate"
    ]
    text = text_of(made, tmp_path)
    body = text.split("\n---\n", 1)[1]
    for mark in ("<script", "<img", "\x1b", "\x9b", "\u202e", "\u2028", "](http", "![", "[x]"):
        assert mark not in body, mark
    assert body.count("[") - body.count("\\[") == body.split("```python")[1].split("```")[0].count("[")
    data = ModelCard(text).data
    assert all(re.fullmatch(r"[\w.-]+", name) for name in data.datasets) and data.base_model is None


def test_the_folder_links_the_weights_and_leaves_the_artifact_alone(made, merged, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for _ in range(2):  # a second run finds the folder of the first
        target = publish.write(run, made, merged, PublishSettings(), tmp_path / "none")
    assert {p.name for p in target.iterdir()} == {"README.md", "config.json", "model.safetensors", "medsafe_train.json"}
    assert (target / "model.safetensors").is_symlink() and (target / "model.safetensors").read_text() == "{}"
    assert not (target / "README.md").is_symlink() and not (merged / "README.md").exists()
    moved = tmp_path.rename(
        tmp_path.with_name(tmp_path.name + "-moved")
    )  # links hold when the outputs are moved as a whole
    assert (moved / "run" / "checkpoint" / "config.json").read_text() == "{}"


class Hub(BaseHTTPRequestHandler):
    """What of the Hub's API an upload of small files needs; remembers what it was sent."""

    sent: ClassVar[list] = []
    refuses = None

    def do_GET(self):
        self.sent.append(("GET", self.path, None))
        if self.headers.get("authorization") != "Bearer hf_right":
            return self.answer({"error": "Invalid user token."}, 401)
        self.answer({"name": "somebody", "type": "user", "auth": {"accessToken": {"role": "write"}}})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        self.sent.append(("POST", self.path, body))
        if self.refuses and self.refuses in self.path:
            return self.answer({"error": "refused"}, 403)
        if self.path == "/api/validate-yaml":
            return self.answer({})
        if self.path == "/api/repos/create":
            return self.answer({"url": f"http://{self.headers['host']}/owner/model", "id": "x"})
        if "preupload" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self.answer({"files": files})
        self.answer(
            {
                "commitUrl": f"http://{self.headers['host']}/owner/model/commit/0",
                "commitOid": "0" * 40,
                "pullRequestUrl": None,
            }
        )

    def answer(self, value, status=200):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the Hub on this machine, and somebody logged in there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"sent": []}))
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    from huggingface_hub import hf_api

    real = hf_api.HfApi.__init__
    monkeypatch.setattr(
        hf_api.HfApi, "__init__", lambda self, endpoint=None, **more: real(self, endpoint=address, **more)
    )
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    yield server.RequestHandlerClass
    server.shutdown()


ASKED = PublishSettings(push_to_hub=True, hub_model_id="owner/model")


def test_a_push_sends_card_and_weights(hub, made, merged, tmp_path):
    publish.check(ASKED)
    folder = publish.write(tmp_path, made, merged, ASKED, tmp_path / "none")
    publish.push(folder, ASKED, {**made, "gate": None})
    paths = [path for _, path, _ in hub.sent]
    assert paths[0] == "/api/whoami-v2" and paths[1:3] == ["/api/validate-yaml", "/api/repos/create"]
    assert json.loads(hub.sent[1][2])["content"] == (folder / "README.md").read_text()
    assert json.loads(hub.sent[2][2])["visibility"] == "private"
    commit = next(body for method, path, body in hub.sent if method == "POST" and "/commit/" in path)
    sent = {json.loads(text)["value"].get("path") for text in commit.splitlines()} - {None}
    assert sent == {"README.md", "config.json", "model.safetensors", "medsafe_train.json"}


def test_nothing_is_sent_unless_asked_for(hub, made, merged, tmp_path):
    publish.check(PublishSettings())
    publish.push(publish.write(tmp_path, made, merged, PublishSettings(), tmp_path), PublishSettings(), made)
    assert hub.sent == []


def test_a_gate_that_stops_the_checkpoint_keeps_it_from_the_hub(hub, made, merged, tmp_path, capsys):
    folder = publish.write(tmp_path, made, merged, ASKED, tmp_path)
    publish.push(folder, ASKED, {**made, "gate": {"enforced": True, "stops": True, "verdict": "failed"}})
    assert hub.sent == [] and "not pushed" in capsys.readouterr().out


def test_what_the_hub_would_refuse_is_said_before_the_run(hub, monkeypatch, refused):
    for name in ("", "no owner/x y", "a/b/c"):
        with pytest.raises(UserError, match="OWNER/NAME"):
            publish.check(PublishSettings(push_to_hub=True, hub_model_id=name))
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match="does not take the login"):
        publish.check(ASKED)
    from huggingface_hub.utils import _auth

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(_auth, "_get_token_from_file", lambda: None)
    with pytest.raises(UserError, match="nobody is logged in"):
        publish.check(ASKED)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        publish.check(ASKED)
    assert "hub_model_id" in refused("+recipe=smoke", "publish.push_to_hub=true")


def test_a_hub_that_cannot_be_reached_is_said_before_the_run_and_after_it(hub, made, merged, tmp_path, monkeypatch):
    from huggingface_hub import HfApi

    nowhere, real = "http://127.0.0.1:9", HfApi.__init__
    monkeypatch.setattr(
        HfApi, "__init__", lambda self, **more: real(self, **more) or setattr(self, "endpoint", nowhere)
    )
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    with pytest.raises(UserError, match=r"the Hub cannot be reached .*check the network"):
        publish.check(ASKED)
    folder = publish.write(tmp_path, made, merged, ASKED, tmp_path)
    with pytest.raises(UserError, match="the run is whole: hf upload owner/model"):
        publish.push(folder, ASKED, {**made, "gate": None})


def test_a_refused_upload_says_how_to_go_on(hub, made, merged, tmp_path):
    folder = publish.write(tmp_path, made, merged, ASKED, tmp_path)
    hub.refuses = "/commit/"
    with pytest.raises(UserError, match="the run is whole: hf upload owner/model"):
        publish.push(folder, ASKED, {**made, "gate": None})
