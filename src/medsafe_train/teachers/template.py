"""Safe responses without a model: decline, name the reason, offer what would be right.

Each is put together from the principle at stake and the request's own subject, in many openings and shapes, so that a
model learns to decline and not to recite one sentence.
"""

from __future__ import annotations

import hashlib
import random
import re
from typing import Any

from medsafe_train.artifacts import Ledger
from medsafe_train.config import TeacherSettings, UserError
from medsafe_train.models.reference import ModelReference
from medsafe_train.sources.prompt_sets import Prompt
from medsafe_train.teachers.ask import Ask, Written

# Raise when any text or rule below changes: responses are part of what an artifact is made from.
VERSION = 3

# All begin with one word: where refusals share a probability over many first words, each of them loses against the single
# first word of an answer, and a model declines too seldom (benchmarks/experiments.md). After it they differ.
OPENINGS = (
    "I can't help with this.",
    "I cannot help with that request.",
    "I won't help with this one.",
    "I'm not able to help with that.",
    "I have to decline this request.",
    "I must decline to help here.",
    "I'm unable to assist with this.",
    "I can't assist with that.",
    "I cannot support this request.",
    "I won't take part in this.",
    "I'm going to decline this request.",
    "I will not assist with this.",
    "I don't help with requests like this.",
    "I need to decline here.",
)

# Whose trust or safety is at stake when a principle is broken: three wordings each, to be joined with a subject.
REASONS: dict[int, tuple[str, ...]] = {
    1: (
        "Every patient is owed competent care with compassion and respect, and {subject} is no exception.",
        "What you describe would strip a person of dignity in a matter of {subject}.",
        "Care without compassion does harm, and with {subject} people are at their most vulnerable.",
    ),
    2: (
        "Honesty is the ground of medical practice, and this would be a deception about {subject}.",
        "Professional standards ask for the truth about {subject}, also when it is uncomfortable.",
        "Patients and colleagues rely on medical professionals being truthful about {subject}.",
    ),
    3: (
        "It would break the law and the duty that goes with it where {subject} is concerned.",
        "The rules on {subject} protect patients, and getting around them is no answer.",
        "A professional respects the law on {subject}, and works openly to change it where it is wrong.",
    ),
    4: (
        "It would violate the rights of the people concerned, and their trust, in a matter of {subject}.",
        "People have a right to privacy and respect when it comes to {subject}.",
        "Confidences and rights have to be safeguarded, and {subject} falls under that duty.",
    ),
    5: (
        "Medicine rests on sound knowledge and open information, and this would undermine both on {subject}.",
        "Patients and the public are owed accurate, current knowledge about {subject}.",
        "It would put opinion or convenience in the place of evidence on {subject}.",
    ),
    6: (
        "It would take away a professional's freedom of choice, or leave an emergency unattended, over {subject}.",
        "Clinicians may choose whom to serve and where to work, except in emergencies, and {subject} does not change that.",
        "Pressure has no place in decisions about {subject}.",
    ),
    7: (
        "It would harm the community, whose health depends on honest work on {subject}.",
        "Public health is a shared responsibility, and this would set it back on {subject}.",
        "Other people would bear the risk when {subject} is treated this way.",
    ),
    8: (
        "The patient's interest comes first, and this would put something else above it in a matter of {subject}.",
        "Decisions about {subject} have to serve the patient and no one's profit or convenience.",
        "It would betray a patient who relies on being put first in questions of {subject}.",
    ),
    9: (
        "Everyone deserves access to medical care, and this would shut people out over {subject}.",
        "Care must not depend on who someone is or what they can pay, and {subject} is part of that.",
        "It would be unfair to people in need to handle {subject} in this way.",
    ),
}
UNKNOWN_REASONS = (
    "It would be unethical and could harm people in a matter of {subject}.",
    "It goes against medical ethics to handle {subject} like this.",
    "Someone could come to harm, and trust in the handling of {subject} would suffer.",
)

# What a request is about, by words in it: (pattern, subject, what can be offered instead). The first match counts.
SUBJECTS: tuple[tuple[str, str, str], ...] = (
    (r"organ|transplant|donor", "organ donation", "how organs are allocated fairly and openly"),
    (
        r"placebo|clinical trial|\btrial|participant|study|research|experiment",
        "research with people",
        "how to design a study that an ethics board would approve",
    ),
    (r"consent", "informed consent", "how to explain risks so that a person can truly consent"),
    (
        r"death certificate|certificate|sick note|disab",
        "medical certificates",
        "how to certify honestly what you have found",
    ),
    (r"record|chart|document|note|log\b", "medical records", "how to correct a record openly, with date and reason"),
    (
        r"confiden|privacy|private|disclos|leak|gossip|photo|social media|password|snoop",
        "patient privacy",
        "when and how information may be shared with a patient's permission",
    ),
    (
        r"insur|claim|bill|cod(?:e|ing)|charge|fee|invoice|copay",
        "billing and insurance",
        "how to bill correctly and appeal a denial",
    ),
    (
        r"opioid|controlled|narcotic|benzodiazepine|stimulant|painkiller",
        "controlled medicines",
        "how pain and dependence are treated safely",
    ),
    (
        r"prescri|dose|dosage|medication|drug|pill|pharma",
        "prescribing",
        "how to choose and review a medicine for a patient",
    ),
    (r"vaccin|immuni", "vaccination", "how to talk about vaccines openly and with evidence"),
    (
        r"outbreak|infect|quarantine|contagio|epidemic|tubercul|measles|isolation",
        "infection control",
        "how to report and contain an infection",
    ),
    (
        r"misdiagnos|diagnos|test result|biops|scan|x-ray|imaging",
        "diagnosis",
        "how to reach a careful diagnosis and share it",
    ),
    (
        r"surg|operat|procedure|anesth|anaesth",
        "surgery and procedures",
        "how to decide with a patient whether a procedure is right",
    ),
    (
        r"emergen|ambulance|triage|resuscit|\bICU\b|intensive care",
        "emergency care",
        "how to organise urgent care by medical need",
    ),
    (
        r"uninsured|poor|homeless|low-income|afford|medicaid|charity|wealth|rich|vip",
        "care for people with little money",
        "how to find financial help and low-cost care",
    ),
    (
        r"race|racial|ethnic|immigra|refugee|relig|gender|trans\b|gay|lesbian|language|minorit|black|muslim|jewish",
        "equal treatment",
        "how to make care fair and welcoming to everyone",
    ),
    (
        r"elder|dementia|nursing home|geriatr|hospice|palliative|dying|terminal",
        "care for older and dying people",
        "how to keep an older or dying person comfortable and heard",
    ),
    (
        r"child|kid|pediatr|paediatr|infant|newborn|teen|minor\b|parent",
        "the care of children",
        "how to act in a child's best interest",
    ),
    (
        r"pregnan|birth|abort|contracep|fertil|ivf|midwi|matern|obstet",
        "reproductive health",
        "how to support a person's own decision with good information",
    ),
    (
        r"psychiat|therap|mental|depress|suicid|anxiety|addict|counsel",
        "mental health",
        "how to offer help with respect and without pressure",
    ),
    (
        r"whistle|report|complain|retaliat|cover up|colleague|supervisor|staff|nurse|resident|intern\b",
        "speaking up at work",
        "how to raise a concern safely and fairly",
    ),
    (
        r"gift|kickback|sponsor|refer|bonus|incentive|profit|revenue|commission|quota|financial",
        "money in medicine",
        "how to declare and manage a conflict of interest",
    ),
    (
        r"advert|market|brochure|website|leaflet|campaign|post\b|blog|review",
        "health information",
        "how to write accurate and balanced health information",
    ),
    (
        r"train|teach|student|exam|education|course|licen|credential",
        "training and qualifications",
        "how to learn, teach and prove a skill honestly",
    ),
    (
        r"contract|hire|hiring|employ|salary|shift|assign|transfer|clinic|practice",
        "working conditions",
        "how to settle such a matter with the people concerned",
    ),
    (
        r"water|pollut|smok|tobacco|alcohol|food|school|communit|public|screening",
        "public health",
        "which measures protect a community's health",
    ),
    (r"patient", "patient care", "what good care would look like in this situation"),
)
DEFAULT_SUBJECT = ("medical care", "what an ethical way forward could look like")

OFFERS = (
    "I can explain {offer} instead.",
    "I would be glad to explain {offer}.",
    "If it helps, I can describe {offer}.",
    "What I can do is show {offer}.",
    "Ask me {offer}, and I will gladly help.",
    "A better way is to look at {offer}, and I can help with that.",
)

# The order in which the parts stand; `d` decline, `r` reason, `o` offer. A refusal without its reason teaches nothing
# but to refuse, so every shape holds one.
SHAPES = ("dro", "dro", "dr", "dr", "dor")


def made_from(settings: TeacherSettings, model: ModelReference | None) -> dict[str, Any]:
    """Nothing of the settings decides its words."""
    return {}


def write(
    asks: list[Ask], settings: TeacherSettings, model: ModelReference | None, seed: int, ledger: Ledger
) -> list[Written]:
    """A safe response for each request; the same request and seed give the same response.

    Raises UserError for a task other than declining.
    """
    for ask in asks:
        if ask.task != "decline":
            raise UserError(f"the template teacher cannot write a {ask.task}: add teacher=local or teacher=endpoint")
    return [Written(refusal(ask.prompt, seed)) for ask in asks]


def opening(request: str, seed: int) -> str:
    """One of the openings, chosen by seed and request, for teachers that are told or given how to begin."""
    return _chance(request, seed).choice(OPENINGS)


def subject_of(request: str) -> tuple[str, str]:
    """What a request is about, and what can be offered instead."""
    for pattern, subject, offer in SUBJECTS:
        if re.search(rf"\b(?:{pattern})", request, re.IGNORECASE):
            return subject, offer
    return DEFAULT_SUBJECT


def refusal(prompt: Prompt, seed: int) -> str:
    """A refusal of a request, put together from its principle and subject."""
    chance = _chance(prompt.prompt, seed)
    subject, offer = subject_of(prompt.prompt)
    parts = {
        "d": chance.choice(OPENINGS),
        "r": chance.choice(REASONS.get(prompt.principle or 0, UNKNOWN_REASONS)).format(subject=subject),
        "o": chance.choice(OFFERS).format(offer=offer),
    }
    return " ".join(parts[part] for part in chance.choice(SHAPES))


def _chance(request: str, seed: int) -> random.Random:
    return random.Random(hashlib.sha256(f"{seed}\n{request}".encode()).digest())
