"""The client against a real server on this machine that fails in every way a server can."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from email.utils import formatdate

import pytest

from medsafe_train import endpoint, replies
from medsafe_train.artifacts import Ledger
from medsafe_train.config import UserError
from medsafe_train.endpoint import EndpointSettings, ask
from medsafe_train.replies import Mend, Reply, Trouble, read_error
from tests.server import COMPLETION_TOKENS, PROMPT_TOKENS, Server, misbehaving

pytest.importorskip("openai")
KEY = "sk-secret-0123456789abcdef"
EACH = PROMPT_TOKENS + COMPLETION_TOKENS


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short waits, and a key that must not be seen anywhere."""
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "replies.jsonl")


def settings(server, **fields):
    url = server if isinstance(server, str) else server.url
    standard = EndpointSettings("demonstrations.teacher", url, "small", "OPENAI_API_KEY", 8, 5.0, 5, 0.0, 16, None)
    return replace(standard, **fields)


def items(count, start=0):
    return [(f"s/{n}", [{"role": "user", "content": f"Decline item {n}."}]) for n in range(start, count)]


def lines(ledger):
    return [json.loads(line) for line in ledger.path.read_text().splitlines()]


def answered(ledger):
    return {id for id, record in ledger.records.items() if record["error"] is None}


def test_a_good_server_is_asked_once_an_item(ledger):
    with Server(delay=0.02) as server:
        ask(items(20), settings(server), ledger, "asks")
        server.settled()
        assert server.received == server.delivered == {n: 1 for n in range(20)}
        assert 1 < server.most_under_way <= 8
        sent = server.requests[0]
        assert sent["model"] == "small" and sent["max_tokens"] == 16 and sent["temperature"] == 0
        assert sent["authorization"] == f"Bearer {KEY}"
    assert lines(ledger)[0] == {
        "id": lines(ledger)[0]["id"], "response": "I can't help with that.", "finish_reason": "stop", "prompt_tokens": 20,
        "completion_tokens": 10, "model": "small", "error": None, "attempts": 1, "charged": EACH,
    }  # fmt: skip


def test_a_server_that_fails_three_times_in_ten_loses_nothing_and_is_paid_once(ledger):
    with Server(misbehaving(0.3)) as server:
        ask(items(100), settings(server, timeout=12.0, max_retries=2), ledger, "asks")
        server.settled()
        assert set(ledger.records) == {id for id, _ in items(100)}
        failed = set(ledger.records) - answered(ledger)
        # Two retries leave some: 0.3³ of 100.
        assert 0 < len(failed) < 20
        assert max(server.delivered.values()) == 1 and sum(server.delivered.values()) == 100 - len(failed)
        # One whose connection broke at once may not have arrived.
        assert all(record["attempts"] >= server.received[int(id[2:])] for id, record in ledger.records.items())
        assert max(record["attempts"] for record in ledger.records.values()) == 3

        server.forget()
        again = Ledger(ledger.path)
        ask(items(100), settings(server, timeout=12.0, max_retries=8), again, "asks")
        assert {f"s/{n}" for n in server.received} == failed
        server.settled()
        assert len(answered(again)) == 100 and max(server.delivered.values()) == 1
        server.forget()
        ask(items(100), settings(server), Ledger(ledger.path), "asks")
        assert not server.received


@pytest.mark.parametrize(
    "fault", ["429", "500", "timeout", "reset", "empty", "no_choices", "null", "malformed", "half"]
)
def test_each_fault_passes_with_a_retry_and_is_recorded_when_it_stays(tmp_path, fault):
    def plan(item, attempt, request):
        return fault if item == 1 or attempt == 1 else None

    ledger = Ledger(tmp_path / fault)
    with Server(plan) as server:
        ask(items(4), settings(server, timeout=3.0 if fault == "timeout" else 10.0, max_retries=1), ledger, "asks")
    assert answered(ledger) == {"s/0", "s/2", "s/3"}
    assert ledger.records["s/1"]["error"] and ledger.records["s/1"]["response"] is None
    assert {record["attempts"] for record in ledger.records.values()} == {2}


def test_a_server_that_drips_meets_the_time_out(ledger):
    with Server(lambda item, attempt, request: "drip" if item == 1 else None) as server:
        start = time.monotonic()
        ask(items(3), settings(server, timeout=3.0, max_retries=0), ledger, "asks")
        assert time.monotonic() - start < 25
    assert ledger.records["s/1"]["error"] == "no whole reply within 3 s"


@pytest.mark.parametrize(("header", "least"), [("1", 1.0), ("date", 1.0), ("3600", 0.3), ("soon", 0), ("-5", 0)])
def test_retry_after_is_heeded_up_to_a_limit(ledger, monkeypatch, header, least):
    if header == "3600":
        monkeypatch.setattr(endpoint, "LONGEST_WAIT", 0.3)

    def plan(item, attempt, request):
        when = formatdate(time.time() + 3, usegmt=True) if header == "date" else header
        return (429, "{}", {"Retry-After": when}) if attempt == 1 else None

    with Server(plan) as server:
        ask(items(1), settings(server), ledger, "asks")
        assert least <= server.times[1] - server.times[0] < 30
    assert answered(ledger) == {"s/0"}


def test_waits_double(monkeypatch, ledger):
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.1)
    with Server(lambda item, attempt, request: "500" if attempt < 5 else None) as server:
        ask(items(1), settings(server), ledger, "asks")
        gaps = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    assert all(gap >= 0.05 * 2**n for n, gap in enumerate(gaps)) and len(gaps) == 4


CHILD = """
import sys
from tests.test_endpoint import Ledger, ask, items, settings
ask(items(60), settings(sys.argv[1], concurrency=4), Ledger(__import__("pathlib").Path(sys.argv[2])), "asks")
"""


def test_killed_it_goes_on_and_asks_only_what_was_under_way_again(tmp_path):
    path = tmp_path / "replies.jsonl"
    with Server(delay=0.05) as server:
        child = subprocess.Popen([sys.executable, "-c", CHILD, server.url, str(path)], stderr=subprocess.DEVNULL)
        while sum(server.delivered.values()) < 21:
            assert child.poll() is None
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -9
        time.sleep(0.5)
        server.settled()
        before = dict(server.received)
        server.forget()
        ledger = Ledger(path)
        kept = {int(id[2:]) for id in ledger.records}
        assert 15 <= len(kept) < 60 and len(set(before) - kept) <= 4
        ask(items(60), settings(server), ledger, "asks")
        assert set(server.received) == set(range(60)) - kept and set(server.received.values()) == {1}
    assert len(answered(Ledger(path))) == 60 == len(lines(ledger))


def test_the_cap_is_never_passed_and_what_is_answered_is_kept(ledger):
    with Server() as server:
        with pytest.raises(UserError) as stopped:
            ask(items(40), settings(server, max_total_tokens=600), ledger, "asks")
        server.settled()
        spent = sum(server.delivered.values()) * EACH
        # The next request could have taken 95 and 16: as much may stay unused, no more.
        assert 600 - 120 <= spent <= 600
        count = len(answered(ledger))
        assert sum(server.received.values()) == count == len(lines(ledger))
        assert f"max_total_tokens=600: the next request could pass it ({spent} tokens" in str(stopped.value)
        assert f"{count} of 40 are answered and kept" in str(stopped.value) and "\n" not in str(stopped.value)
        with pytest.raises(UserError, match="max_total_tokens"):
            ask(items(40), settings(server, max_total_tokens=600), Ledger(ledger.path), "asks")
        assert sum(server.received.values()) == count
        ask(items(40), settings(server, max_total_tokens=10_000), Ledger(ledger.path), "asks")
        assert set(server.received.values()) == {1} and len(server.received) == 40


def test_what_may_have_been_paid_for_counts_against_the_cap(ledger):
    """Answers that got lost on the way were worked on all the same."""
    with Server(misbehaving(0.5, 3)) as server:
        with pytest.raises(UserError, match="max_total_tokens=2000"):
            ask(items(80), settings(server, timeout=0.5, max_total_tokens=2000), ledger, "asks")
        assert 0 < sum(server.worked_on.values()) * EACH <= 2000


def test_a_recorded_failure_is_asked_again_and_gives_way(ledger):
    broken = [True]
    with Server(lambda item, attempt, request: "500" if item == 3 and broken else None) as server:
        ask(items(8), settings(server, max_retries=1), ledger, "asks")
        assert ledger.records["s/3"]["error"].startswith("HTTP 500")
        broken.clear()
        server.forget()
        ask(items(8), settings(server), Ledger(ledger.path), "asks")
        assert server.received == {3: 1}
    assert len(lines(ledger)) == 9 and len(answered(Ledger(ledger.path))) == 8


REFUSALS = [
    ((401, '{"error": {"message": "Incorrect API key provided: ' + KEY + '"}}', {}), ["HTTP 401", "OPENAI_API_KEY"]),
    ((403, '{"detail": "Bearer ' + KEY + '"}', {}), ["HTTP 403", "OPENAI_API_KEY"]),
    ((404, '{"error": {"message": "The model `small` does not exist"}}', {}), ["model=small", "HTTP 404: The model `small`"]),
    ((402, '{"error": "no credit"}', {}), ["nothing left to spend", "no credit"]),
    ((429, '{"error": {"code": "insufficient_quota", "message": "pay"}}', {}), ["nothing left to spend"]),
    ((400, '{"error": {"param": "temperature", "message": "not 0"}}', {}), ["refuses every request", "temperature"]),
    ((400, '{"message": "no idea what you want"}', {}), ["refuses every request (HTTP 400: no idea"]),
    ((422, '{"detail": [{"loc": "body"}]}', {}), ["refuses every request (HTTP 422)"]),
    ((405, "<html>\nnot here</html>", {}), ["HTTP 405", "base_url"]),
    ((301, "", {"Location": "http://127.0.0.1:9/elsewhere"}), ["HTTP 301", "base_url"]),
]  # fmt: skip


@pytest.mark.parametrize(("refusal", "words"), REFUSALS, ids=[f"{r[0]}-{n}" for n, (r, _) in enumerate(REFUSALS)])
def test_what_no_retry_mends_stops_in_one_line(ledger, capsys, refusal, words):
    with Server(lambda item, attempt, request: refusal) as server:
        with pytest.raises(UserError) as stopped:
            ask(items(50), settings(server, concurrency=2), ledger, "asks")
        assert sum(server.received.values()) <= 4 and max(server.received.values()) == 1
    text = str(stopped.value)
    assert all(word in text for word in words) and "\n" not in text and len(text) < 500, text
    seen = capsys.readouterr()
    assert KEY not in text + seen.out + seen.err and KEY not in ledger.path.read_text()


@pytest.mark.parametrize(
    "refusal",
    [
        (400, '{"error": {"code": "content_filter", "message": "Filtered."}}', {}),
        (400, '{"error": {"message": "This model\'s maximum context length is 4096 tokens."}}', {}),
        (400, '{"message": "this one, no"}', {}),
        (413, "", {}),
    ],
)
def test_a_refusal_of_one_items_content_is_that_items_failure(ledger, refusal):
    with Server(lambda item, attempt, request: refusal if item == 5 else None) as server:
        ask(items(12), settings(server, concurrency=1), ledger, "asks")
        assert server.received[5] == 1
    assert len(answered(ledger)) == 11 and ledger.records["s/5"]["error"].startswith(f"HTTP {refusal[0]}")


POLICY = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."


@pytest.mark.parametrize(("status", "body", "filtered"), [
    (400, {"code": "content_filter", "param": "prompt", "message": POLICY}, True),
    (400, {"code": None, "message": "No.", "innererror": {"code": "ResponsibleAIPolicyViolation"}}, True),
    (400, {"error": {"type": "content_policy_violation", "message": "No."}}, True),
    (400, {"code": "invalid_prompt", "message": "Your prompt was flagged as potentially violating our usage policy."}, True),
    (403, {"code": 403, "message": "Your chosen model requires moderation and your input was flagged for violence."}, True),
    (403, {"code": 403, "message": "Your account was flagged for abuse."}, False),
    (403, {"message": "No access to the model medsafety-7b."}, False),
    (400, {"message": "Unrecognized request argument supplied: safety_settings"}, False),
    (400, {"message": "temperature must be moderate, in [0, 1]"}, False),
    (400, {"message": "medsafety-7b takes no system message"}, False),
    (400, {"message": "The model content filter of 7b takes no system message"}, False),
    (400, {"param": "content_filter", "message": "no such content filter"}, False),
])  # fmt: skip
def test_a_filter_is_known_by_its_code_or_a_whole_phrase(status, body, filtered):
    """A fault of ours that speaks of safety would otherwise stand for good as what a filter kept back."""
    trouble = read_error(status, body, {}, "content filter of 7b" if "of 7b" in str(body) else "medsafety-7b")
    assert trouble.filtered is filtered and (trouble.mend is Mend.never) is filtered


def test_filtered_and_declined_answers_are_not_asked_for_twice(ledger):
    def plan(item, attempt, request):
        message = {"content": None, "refusal": "I won't."} if item else {"content": "I "}
        finish = "stop" if item else "content_filter"
        return 200, json.dumps({"choices": [{"message": message, "finish_reason": finish}]}), {}

    with Server(plan) as server:
        ask(items(2), settings(server), ledger, "asks")
        assert server.received == {0: 1, 1: 1}
    assert [ledger.records[id]["error"] for id in ("s/0", "s/1")] == [
        "stopped by the server's content filter", "the model refuses the task",
    ]  # fmt: skip


def test_a_server_that_is_down_stops_the_run(ledger):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(UserError, match=r"the last \d+ requests to .* all failed.*see that the server runs; 0 of 60"):
        ask(items(60), settings(url, max_retries=1), ledger, "asks")
    assert sum(record["charged"] for record in ledger.records.values()) == 0


def test_a_server_that_dies_midway_stops_the_run_and_keeps_what_it_answered(ledger):
    with Server(lambda item, attempt, request: "500" if item >= 15 else None) as server:
        with pytest.raises(UserError, match="15 of 60 are answered and kept"):
            ask(items(60), settings(server, max_retries=1), ledger, "asks")
        assert sum(server.received.values()) < 15 + 2 * 20


def test_the_key_is_nowhere(ledger, capsys):
    """Not even when the server writes it into everything it says."""

    def plan(item, attempt, request):
        said = request["authorization"]
        if item % 3 == 0:
            return 500, json.dumps({"error": {"message": "x" * 185 + said}}), {"Retry-After": "0"}
        body = {
            "choices": [{"message": {"content": f"I can't. {said[:10]}\x00{said[10:]}"}, "finish_reason": said}],
            "model": said,
        }
        return 200, json.dumps(body), {}

    with Server(plan) as server:
        ask(items(9), settings(server, max_retries=1), ledger, "asks")
    seen = capsys.readouterr()
    whole = ledger.path.read_text() + seen.out + seen.err
    assert "[API key]" in whole and KEY not in whole and KEY[:8] not in whole


def test_answers_are_made_harmless(ledger):
    text = "<think>Hm.</think>  I can't\x00 help\x1b[31m\u202e. \ud800\r\nOk\u200b?\n" + "long " * 500
    with Server(
        lambda item, attempt, request: (200, json.dumps({"choices": [{"message": {"content": text}}]}), {})
    ) as server:
        ask(items(1), settings(server), ledger, "asks")
    record = Ledger(ledger.path).records["s/0"]
    assert record["response"].startswith("I can't help[31m. \nOk?\nlong long") and len(record["response"]) == 16 * 16
    # Cut is cut, whatever the server says; and what it took is not known, so the most that it can take is charged.
    assert record["finish_reason"] == "length" and record["prompt_tokens"] is None
    assert record["charged"] == endpoint.worst_case(items(1)[0][1], 16)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"3", b'"text"', b"{", b"[" * 100_000, b"\xff\xfe", b'{"choices": 3}', b'{"choices": [3]}',
        b'{"choices": {"0": 1}}', b'{"choices": [{"message": []}]}', b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": ["a"]}}]}', b'{"choices": [{"message": {"content": " \\u0000 "}}]}',
        b'{"error": {"message": "overloaded"}}', b"9" * 5000,
    ],
)  # fmt: skip
def test_any_body_is_read_without_an_exception(body):
    found = replies.read_reply(body)
    assert isinstance(found, Trouble) and found.mend is Mend.again and found.cost is None


@pytest.mark.parametrize("usage", ["null", "3", '{"prompt_tokens": -4, "completion_tokens": 2}', '{"prompt_tokens": "4"}',
                                   '{"prompt_tokens": true, "completion_tokens": 1}', '{"prompt_tokens": 1e400}'])  # fmt: skip
def test_usage_that_cannot_be_is_not_believed(usage):
    found = replies.read_reply(f'{{"choices": [{{"message": {{"content": "No."}}}}], "usage": {usage}}}'.encode())
    assert isinstance(found, Reply) and found.text == "No." and found.cost is None


def test_a_missing_key_is_noticed_before_anything_is_sent(monkeypatch, ledger):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match=r"api_key_env=OPENAI_API_KEY: no such environment variable.*export"):
        ask(items(1), settings("https://api.example.org/v1"), ledger, "asks")
    for url in ("http://localhost:8000/v1", "http://127.0.0.2/v1", "http://[::1]:80/v1"):
        assert endpoint.check(settings(url)) == "none"
    with Server() as server:
        ask(items(1), settings(server), ledger, "asks")
        assert server.requests[0]["authorization"] == "Bearer none"


def test_a_key_that_cannot_be_one_is_not_repeated(monkeypatch):
    for value in ("sk-one two", "sk-one\ntwo", "sk-ö"):
        monkeypatch.setenv("OPENAI_API_KEY", value)
        with pytest.raises(UserError) as refused:
            endpoint.check(settings("http://localhost/v1"))
        assert "sk-" not in str(refused.value)
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    assert endpoint.check(settings("http://localhost/v1")) == KEY


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(endpoint.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "medsafe_train\[endpoint\]"'):
        endpoint.check(settings("http://localhost/v1"))


def test_openais_own_name_for_the_length_goes_to_openai_only():
    assert endpoint.parameters(settings("https://api.openai.com/v1", temperature=None)) == {
        "model": "small", "max_completion_tokens": 16,
    }  # fmt: skip
    assert endpoint.parameters(settings("http://localhost/v1")) == {
        "model": "small",
        "max_tokens": 16,
        "temperature": 0.0,
    }
