"""Canary secrets: in the environment they are in nothing that a run writes; in settings they end in one line, with nothing written."""

import json

import pytest

from medsafe_train import confidential
from tests.conftest import run_process
from tests.server import Server

CANARIES = {
    "OPENAI_API_KEY": "sk-canary-0123456789abcdefghij",
    "WANDB_API_KEY": "c0ffee0123456789c0ffee0123456789c0ffee01",
    "HF_TOKEN": "hf_canary0123456789ABCDEFGHIJ",
    "MY_DATABASE_PASSWORD": "canary-of-a-password",
}


def leaks(folder):
    """Files below a folder in which a canary is, by name or in their bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [(path, name) for path in files for name, value in CANARIES.items()
            if value.encode() in path.read_bytes() or value in str(path)]  # fmt: skip


def test_secrets_of_the_environment_are_in_nothing_that_a_run_writes(tmp_path):
    """A whole run that uses its key, logs to W&B offline, and talks to a server that quotes the key in its errors."""
    seen = []

    def plan(item, attempt, request):
        seen.append(attempt)
        if attempt == 1:
            return 500, json.dumps({"error": {"message": f"no, {CANARIES['OPENAI_API_KEY']}"}}), {}
        return None

    env = {**CANARIES, "HOME": str(tmp_path / "home"), "WANDB_DIR": str(tmp_path / "home"), "WANDB_MODE": "offline"}
    (tmp_path / "home").mkdir()
    openings = ("I can't help with that", "I'm sorry, but I won't do this", "This is something I must decline")

    def answer(item, request):
        return f"{openings[len(seen) % 3]}, because it would put a patient's safety and trust at risk."

    with Server(plan, answer=answer) as server:
        done = run_process(
            "+recipe=smoke", "teacher=endpoint", f"demonstrations.teacher.base_url={server.url}", "demonstrations.teacher.model=m",
            "tracking.mode=offline", f"outputs={tmp_path / 'outputs'}", env=env,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert seen and list((tmp_path / "outputs").rglob("*.wandb")) and list((tmp_path / "outputs").rglob(".hydra/*"))
    assert leaks(tmp_path) == []
    assert not any(value in done.stdout + done.stderr for value in CANARIES.values())


def test_the_search_for_canaries_can_find_one(tmp_path):
    (tmp_path / "x").write_text(f"key: {CANARIES['HF_TOKEN']}")
    assert leaks(tmp_path) == [(tmp_path / "x", "HF_TOKEN")]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("demonstrations.teacher.base_url=https://me:canary-pass@host/v1", "address with a user or password"),
        ("name=sk-canary-9876543210abcdefghij", "looks like a key"),
        ("finetune.r=hf_anotherCanary0123456789", "looks like a key"),
        (
            "demonstrations.harmful=[x-canary-of-a-password.csv]",
            "value of the environment variable MY_DATABASE_PASSWORD",
        ),
        ("+unknown=c0ffee0123456789c0ffee0123456789c0ffee01", "value of the environment variable WANDB_API_KEY"),
    ],
)
@pytest.mark.parametrize("sweep", [False, True])
def test_a_secret_in_an_override_is_refused_and_nothing_is_written(
    refused, monkeypatch, tmp_path, override, words, sweep
):
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    said = refused(*(["--multirun"] if sweep else []), "+recipe=smoke", override)
    assert words in said and override.partition("=")[0].lstrip("+") in said
    assert override.partition("=")[2] not in said and "canary-pass" not in said
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("sweep", [[], ["--multirun"]])
def test_a_secret_in_a_yaml_file_is_refused_and_nothing_is_written(refused, monkeypatch, tmp_path, sweep):
    """Also in a comment's place: as a value of the wrong type, in a list, as a key."""
    monkeypatch.setenv("HF_TOKEN", CANARIES["HF_TOKEN"])
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    for text in (f"path: {CANARIES['HF_TOKEN']}", f"path: [a, '{CANARIES['HF_TOKEN']}']", f"{CANARIES['HF_TOKEN']}: 1"):
        (folder / "own.yaml").write_text(text)
        said = refused(f"--config-dir={tmp_path / 'mine'}", *sweep, "+recipe=smoke", "model=own")
        assert any(word in said for word in ("HF_TOKEN", "model.path", "unknown key [secret]"))
        assert CANARIES["HF_TOKEN"] not in said
        assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-abcdefghijklmnop_123", "hf_abcdefghijklmnopqrst", "ghp_abcdefghijklmnopqrst12", "AKIAABCDEFGHIJKLMNOP",
        "AIzaSyA123456789012345678901234567890", "eyJhbGciOiJI.eyJzdWIiOiIx.abc", "-----BEGIN RSA PRIVATE KEY-----",
        "https://user@host/v1", "http://u:p@host", "Bearer abcdefghijklmnop.qrs", "wandb_v1_abcdefghijklmnopqrst",
    ],
)  # fmt: skip
def test_what_looks_like_a_secret(text):
    assert confidential.secret(f"before {text} after", {}) is not None


@pytest.mark.parametrize(
    "text",
    [
        "epfl-llm/meditron-7b", "9fceb02d0ae598e95dc970b74767f19372d61af8", "http://localhost:8000/v1", "all-linear", "sk-learn",
        "Sure, here is how to do that. First, you", "hf_models/tiny", "me@example.org writes", "/data/task-2026/requests.jsonl", "hub:a/b@main",
        "OPENAI_API_KEY",
    ],
)  # fmt: skip
def test_what_does_not(text):
    assert (
        confidential.secret(text, confidential.environment({"PATH_KEY": "short", "HF_TOKEN": "hf_0123456789"})) is None
    )
