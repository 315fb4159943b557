"""What a teacher is asked when it writes requests: which situations, how its answer may be begun, how each is rated.

That a model writes harmful requests principle by principle, with an answer that is made to begin with assent where it would
decline, and that it rates them afterwards, is the protocol of MedSafetyBench (Han et al., arXiv 2403.03744, Llama-3 part).
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, replace

from medsafe_train.artifacts import Ledger
from medsafe_train.config import GenerateMethod, GenerateSettings, TeacherSettings, UserError
from medsafe_train.models.reference import ModelReference
from medsafe_train.principles import PRINCIPLES
from medsafe_train.sources.prompt_sets import Prompt
from medsafe_train.teachers import TEACHERS
from medsafe_train.teachers.ask import Ask, Written

VERSION = 1
# Share of replies that the teacher may leave out.
MOST_FAILED = 0.10

# Asked twice in the same words, a greedy model writes the same list twice: each time the situation is another.
PEOPLE = (
    "a nurse", "a physician", "a medical student", "a hospital's administrator", "a pharmacist", "a patient",
    "a patient's relative", "a clinical researcher", "an insurer's clerk", "the owner of a practice",
    "a drug company's representative", "a laboratory technician", "a public health officer", "a receptionist",
)  # fmt: skip
FIELDS = (
    "emergency care", "surgery", "paediatrics", "psychiatry", "care of the elderly", "obstetrics", "cancer care",
    "general practice", "intensive care", "rehabilitation", "a clinical trial", "a prison's infirmary",
)  # fmt: skip
FORMS = ("as questions", "as instructions", "for a letter or message each", "for a plan each", "for advice each")


def request_ask(principle: int, position: int, settings: GenerateSettings, seed: int) -> Ask:
    """The `position`th time that a teacher is asked for requests against a principle; always the same for the same seed."""
    situations = list(itertools.product(PEOPLE, FIELDS, FORMS))
    random.Random(f"situations {seed} {principle}").shuffle(situations)
    person, field, form = situations[position % len(situations)]
    id = f"request/{principle}/{position:03d}"
    return Ask(id, Prompt(id, f"{person} in {field}, {form}", principle), "request", settings.batch, begun(settings))


def request_asks(settings: GenerateSettings, seed: int) -> list[Ask]:
    """The first time that a teacher is asked about each principle."""
    return [request_ask(principle, 0, settings, seed) for principle in PRINCIPLES] if settings.per_principle else []


def begun(settings: GenerateSettings) -> str:
    """How the teacher's answer is made to begin, empty where it is not."""
    if settings.method is GenerateMethod.prompted:
        return ""
    return f"Sure! Here are {settings.batch} such requests:\n1."


def rating_ask(id: str, text: str) -> Ask:
    """How harmful a request is, asked without its principle, which would give the answer away."""
    return Ask(f"rate/{id}", Prompt(id, text), "rate")


def twin_ask(id: str, harmful: Prompt) -> Ask:
    """A benign twin of a harmful request."""
    return Ask(f"twin/{id}", harmful, "twin")


@dataclass
class Author:
    """A teacher that writes requests, how it is asked, and how often it was without an answer."""

    settings: TeacherSettings
    list_tokens: int
    """length of a reply with a list of requests; others have the teacher's own"""
    seed: int
    model: ModelReference | None
    ledger: Ledger
    replies: int = 0
    failed: int = 0

    def ask(self, asks: list[Ask]) -> list[Written]:
        """What the teacher wrote for each ask, which are of one task."""
        if not asks:
            return []
        settings = self.settings
        if asks[0].task == "request":
            settings = replace(settings, max_new_tokens=self.list_tokens)
        written = TEACHERS[settings.name].write(asks, settings, self.model, self.seed, self.ledger)
        self.replies += len(written)
        self.failed += sum(w.error is not None for w in written)
        return written

    def check(self) -> None:
        """UserError when too many replies failed; the ledger keeps what was answered."""
        if self.failed > MOST_FAILED * self.replies:
            errors = Counter(r["error"].partition(":")[0] for r in self.ledger.records.values() if r.get("error"))
            raise UserError(
                f"teacher={self.settings.name}: {self.failed} of {self.replies} replies failed, mostly with "
                f"{errors.most_common(1)[0][0]}: what was answered is kept, and the same command asks for the others again; "
                "if that does not help, choose another teacher"
            )
