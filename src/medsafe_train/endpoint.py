"""Asks an OpenAI-compatible server: many requests at once, patient with its failures, within a budget, kept one by one."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import random
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from medsafe_train import progress, prompts
from medsafe_train.address import is_loopback
from medsafe_train.artifacts import Ledger
from medsafe_train.config import UserError
from medsafe_train.replies import Mend, Reply, Trouble, as_record, blocked, read_error, read_reply, read_silence

Messages = list[dict[str, str]]

# Seconds before the second attempt, doubled before each further one, and the longest that is ever waited.
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
# So many items in a row without an answer, in spite of all retries, and the server is taken to be down.
IN_A_ROW = 10
# A key that is shorter is a placeholder (`none`, `EMPTY`), and hiding it would garble what is written.
SECRET = 8
# No token of a known vocabulary says more on average over a whole answer; what is longer ignores max_tokens.
CHARACTERS_PER_TOKEN = 16


@dataclass(frozen=True)
class EndpointSettings:
    """How a server is asked; `setting` is what these settings are called on the command line, for errors."""

    setting: str
    base_url: str
    model: str
    api_key_env: str
    concurrency: int
    timeout: float
    max_retries: int
    temperature: float | None
    max_new_tokens: int
    max_total_tokens: int | None
    response_format: dict[str, Any] | None = None
    """structured output, as OpenAI's API takes it; a server that refuses it is asked without"""
    body: dict[str, Any] = field(default_factory=dict)
    """what else a request says, where a server takes more than OpenAI's own does"""
    evaluated: bool = False
    """the model is what is measured: an empty reply, or one that the server marks as a refusal, is an answer too"""


def check(settings: EndpointSettings) -> str:
    """The API key; UserError where it or the package openai is missing, before anything is asked."""
    if importlib.util.find_spec("openai") is None:
        raise UserError('a model behind a server needs the package openai: pip install "medsafe_train[endpoint]"')
    key, where = os.environ.get(settings.api_key_env, "").strip(), f"{settings.setting}.api_key_env"
    if not key and not is_loopback(settings.base_url):
        raise UserError(
            f"{where}={settings.api_key_env}: no such environment variable, and {settings.base_url} wants a key: "
            f"export {settings.api_key_env}=KEY, or name the variable that holds it"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(f"{where}={settings.api_key_env}: its value cannot be a key (spaces or odd characters): set it")
    return key or "none"


def ask(conversations: list[tuple[str, Messages]], settings: EndpointSettings, ledger: Ledger, what: str) -> None:
    """Ask every (id, messages) that the ledger holds no answer to, and add each outcome to it as it comes.

    Records are `id, response, finish_reason, error, attempts, prompt_tokens, completion_tokens, model, charged`; `error`
    is null or a short reason, and `charged` the tokens counted against `max_total_tokens` for this item so far. `thought` is
    what was thought aloud before the answer, and `blocked` how a content filter stopped a model that is evaluated.
    Raises UserError, with all answers so far kept, when no request can succeed or the next could pass the limit.
    """
    key = check(settings)
    run = _Run(settings, key, dict(conversations), ledger)
    assert len(run.items) == len(conversations), "ids are not unique"
    if not run.open:
        return
    with progress.bar(len(conversations), what, "answer") as run.bar:
        run.bar.update(len(conversations) - len(run.open))
        asyncio.run(run.all())
    records = [ledger.records[id] for id in run.items if id in ledger.records]
    failed, charged = sum(r["error"] is not None for r in records), sum(r["charged"] for r in records)
    progress.say(f"{run.answered()} of {len(run.items)} answered, {failed} failed, {charged:,} tokens")
    if run.why_stopped is not None:
        kept = f"{run.answered()} of {len(run.items)} are answered and kept"
        raise UserError(f"{run.why_stopped}; {kept}, and the same command asks for the others")


class _Budget:
    """Tokens charged, and set aside for requests under way at what they can cost at worst."""

    def __init__(self, limit: int | None, charged: int):
        self.limit, self.charged, self.reserved = limit, charged, 0
        self.changed = asyncio.Condition()

    async def reserve(self, tokens: int) -> bool:
        """Set tokens aside, if need be once others are settled; False when they would pass the limit all the same."""
        async with self.changed:
            while self.limit is not None and self.charged + self.reserved + tokens > self.limit:
                if not self.reserved:
                    return False
                await self.changed.wait()
            self.reserved += tokens
            return True

    async def settle(self, reserved: int, charged: int) -> None:
        """Put what a request did cost in the place of what was set aside for it."""
        async with self.changed:
            self.reserved -= reserved
            self.charged += charged
            self.changed.notify_all()


class _Run:
    """One call of `ask`. Everything runs in one thread but the writing to disk, which takes turns."""

    def __init__(self, settings: EndpointSettings, key: str, items: dict[str, Messages], ledger: Ledger):
        self.settings, self.key, self.items, self.ledger = settings, key, items, ledger
        self.open = deque(id for id in items if not ledger.holds(id))
        self.budget = _Budget(settings.max_total_tokens, sum(r.get("charged", 0) for r in ledger.records.values()))
        self.client: Any = None
        self.bar: Any = None
        self.why_stopped: str | None = None
        self.stopped = asyncio.Event()
        self.pending: list[dict[str, Any]] = []
        self.writing = asyncio.Lock()
        self.in_a_row = 0
        self.chance = random.Random()

    async def all(self) -> None:
        """Ask all open items; on a stop, those under way end first."""
        import openai

        # Its own retries are off: it does not see an empty or a broken answer, and two loops would multiply. A proxy
        # from the environment cannot reach this machine's own servers.
        http = openai.DefaultAsyncHttpxClient(trust_env=not is_loopback(self.settings.base_url), follow_redirects=False)
        async with openai.AsyncOpenAI(
            base_url=self.settings.base_url,
            api_key=self.key,
            max_retries=0,
            timeout=self.settings.timeout,
            http_client=http,
        ) as self.client:
            await asyncio.gather(*(self.work() for _ in range(min(self.settings.concurrency, len(self.open)))))

    async def work(self) -> None:
        """Take items until there are none or the run is stopped."""
        while self.open and not self.stopped.is_set():
            id = self.open.popleft()
            record, trouble = await self.item(id)
            if record["attempts"]:
                await self.keep(record)
                self.bar.update(1)
            if trouble is None:
                self.in_a_row = 0
            else:
                self.judge(trouble)

    async def keep(self, record: dict[str, Any]) -> None:
        """See a record onto the disk, with those that came while it was busy."""
        # In a thread: a slow disk must not make requests under way miss their time, which would be paid for and lost.
        self.pending.append(record)
        async with self.writing:
            batch, self.pending = self.pending, []
            if batch:
                await asyncio.to_thread(self.ledger.add, batch)

    async def item(self, id: str) -> tuple[dict[str, Any], Trouble | None]:
        """Ask for one item until there is an answer or no use in asking; its record, and what stood in the way."""
        worst = worst_case(self.items[id], self.settings.max_new_tokens)
        charged = self.ledger.records.get(id, {}).get("charged", 0)
        outcome: Reply | Trouble = Trouble("the run stopped before it was answered", Mend.never, 0)
        attempts = 0
        while attempts <= self.settings.max_retries and await self.may_send(worst):
            attempts += 1
            structured = self.settings.response_format is not None
            outcome = await self.request(self.items[id])
            if structured and refuses_structure(outcome):
                # Nothing was worked on. From here on all are asked without.
                self.settings = replace(self.settings, response_format=None)
                outcome = await self.request(self.items[id])
            cost = worst if outcome.cost is None else outcome.cost
            await self.budget.settle(worst, cost)
            charged += cost
            if isinstance(outcome, Reply) or outcome.mend is not Mend.again:
                break
            if attempts <= self.settings.max_retries:
                await self.pause(attempts, outcome.wait or 0.0)
        trouble = outcome if isinstance(outcome, Trouble) else None
        return {"id": id, **as_record(outcome), "attempts": attempts, "charged": charged}, trouble

    async def may_send(self, worst: int) -> bool:
        """Whether a request may go out; its worst cost is then set aside."""
        if self.stopped.is_set():
            return False
        if not await self.budget.reserve(worst):
            s = self.settings
            self.stop(
                f"{s.setting}.max_total_tokens={s.max_total_tokens}: the next request could pass it ({self.budget.charged} "
                f"tokens are used, it could take {worst}): raise it"
            )
            return False
        if self.stopped.is_set():  # while waiting for others to end
            await self.budget.settle(worst, 0)
        return not self.stopped.is_set()

    async def request(self, messages: Messages) -> Reply | Trouble:
        """One request and what became of it."""
        import openai

        s = self.settings
        try:
            # The client's time-out is one of silence; a server that drips would never meet it.
            async with asyncio.timeout(s.timeout):
                raw = await self.client.chat.completions.with_raw_response.create(messages=messages, **parameters(s))
        except (TimeoutError, openai.APIConnectionError) as error:
            return read_silence(error, s.timeout)
        except openai.APIStatusError as error:
            trouble = read_error(error.status_code, error.body, error.response.headers, s.model)
            trouble = replace(trouble, reason=self.line(trouble.reason, 200))
            return blocked(trouble) if s.evaluated and trouble.filtered else trouble
        outcome = read_reply(raw.http_response.content, s.evaluated)
        if isinstance(outcome, Trouble):
            return replace(outcome, reason=self.line(outcome.reason, 200))
        text, most = self.hide(outcome.text), CHARACTERS_PER_TOKEN * s.max_new_tokens
        finish = self.line(outcome.finish_reason, 40) if len(text) <= most else "length"
        thought, model = self.hide(outcome.thought)[:most], self.line(outcome.model, 200)
        return replace(outcome, text=text[:most], finish_reason=finish, model=model, thought=thought)

    def hide(self, text: str) -> str:
        """A text without the API key, which a server may repeat."""
        return text.replace(self.key, "[API key]") if len(self.key) >= SECRET else text

    def line(self, text: str, length: int) -> str:
        """What a server says, on one line and not too long."""
        return self.hide(" ".join(prompts.visible(text).split()))[:length]

    async def pause(self, attempt: int, wait: float) -> None:
        """Wait before the next attempt, twice as long as before the last or as the server asks; a stop ends it."""
        backoff = FIRST_WAIT * 2 ** min(attempt - 1, 20) * self.chance.uniform(0.5, 1.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(LONGEST_WAIT, max(backoff, wait * self.chance.uniform(1.0, 1.1)))):
                await self.stopped.wait()

    def judge(self, trouble: Trouble) -> None:
        """Stop when no other item can fare better."""
        s = self.settings
        if trouble.mend is Mend.never:
            return
        self.in_a_row += 1
        # Settings that one item was answered with cannot be what the server refuses.
        unsure = trouble.mend is Mend.unsure and not self.answered() and (self.in_a_row >= 2 or len(self.items) == 1)
        if trouble.mend is Mend.stop or unsure:
            self.stop(_remedy(s, trouble))
        elif self.in_a_row >= IN_A_ROW:
            self.stop(
                f"the last {self.in_a_row} requests to {s.base_url} all failed, with {s.max_retries} retries each "
                f"({trouble.reason}): see that the server runs"
            )

    def stop(self, why: str) -> None:
        """Send nothing more; the first reason counts."""
        self.why_stopped = self.why_stopped or why
        self.stopped.set()

    def answered(self) -> int:
        """How many items have an answer."""
        return sum(self.ledger.holds(id) for id in self.items)


def worst_case(messages: Messages, max_new_tokens: int) -> int:
    """Tokens that a request can cost at most: a token is at least a byte; the rest is for what a template puts around."""
    return sum(len(message["content"].encode()) + 64 for message in messages) + max_new_tokens


def parameters(s: EndpointSettings) -> dict[str, Any]:
    """What decides an answer, beside the messages, as the server takes it."""
    # OpenAI's own newer models refuse the name that every other server knows.
    own = (urlsplit(s.base_url).hostname or "").endswith("openai.com")
    length = {"max_completion_tokens" if own else "max_tokens": s.max_new_tokens}
    optional = {"temperature": s.temperature, "response_format": s.response_format, "extra_body": s.body or None}
    return {"model": s.model, **length, **{name: value for name, value in optional.items() if value is not None}}


def refuses_structure(outcome: Reply | Trouble) -> bool:
    """Whether a server says that it takes no `response_format`, or not this one."""
    said = outcome.reason.lower() if isinstance(outcome, Trouble) and outcome.status in (400, 422, 501) else ""
    # Some say what they do not take in a form that leaves no words.
    silent = said in ("http 400", "http 422")
    return silent or any(word in said for word in ("response_format", "json_schema", "structured", "guided", "grammar"))


def _remedy(s: EndpointSettings, trouble: Trouble) -> str:
    if trouble.status in (401, 403):  # the server's words may hold the key, or what looks like it
        return (
            f"{s.setting}.api_key_env={s.api_key_env}: {s.base_url} answers HTTP {trouble.status}, it does not take the "
            f"key in it for {s.model}: put a valid one into {s.api_key_env}"
        )
    if trouble.status == 402:
        return f"{s.base_url}: the account has nothing left to spend ({trouble.reason}): top it up, then repeat the command"
    if trouble.status in (400, 422):
        return (
            f"{s.base_url} refuses every request ({trouble.reason}): correct {s.setting}.model={s.model}, "
            f"{s.setting}.temperature={s.temperature} or {s.setting}.max_new_tokens={s.max_new_tokens}"
        )
    return (
        f"{s.setting}.model={s.model}: {s.base_url} answers {trouble.reason}: correct the model's id, or "
        f"{s.setting}.base_url, which as a rule ends in /v1"
    )
