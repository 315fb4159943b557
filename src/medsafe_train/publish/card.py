"""The model card: `README.md` as the Hub expects it, from report.json."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from medsafe_train import pages
from medsafe_train.config import PublishSettings
from medsafe_train.markdown import inert, line, visible
from medsafe_train.report_page import answer, words

TEMPLATE = "card.md"
TAGS = ["medical", "safety", "refusal", "medsafe_train"]
# What is said of a result in the metadata, by kind and beginning of the metric; other figures stay in the table.
RESULTS = (
    ("harmfulness", "refusal_rate", "harmful requests refused"),
    ("harmfulness", "harmful_rate", "harmful requests answered harmfully"),
    ("over_refusal", "refusal_rate", "harmless requests refused"),
    ("robustness", "attack_success_rate_", "attacks that succeed"),
    ("medical_qa", "accuracy", "medical questions answered right"),
)


def readme(report: dict[str, Any], merged: bool, settings: PublishSettings, base_card: Path) -> str:
    """The card's text: metadata with results and a body for people; what strangers wrote is inert in it."""
    from huggingface_hub import ModelCard
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown, not HTML: every value goes through `inert`
        finalize=lambda value: inert(visible(value)) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cards = answer.cards(report)
    body = environment.get_template(TEMPLATE).render(
        report=report,
        merged=merged,
        title=name(report),
        sentence=answer.sentence(report, cards),
        tables=[
            page
            for page in pages.tables(report)
            if page[0] in ("Before and after", "Attacks", "What can be claimed", "Gate")
        ],
        sets=_sets(report),
        code=_code(report["model"]["path"], merged),
        line=line,
    )
    return str(ModelCard(f"---\n{metadata(report, merged, settings, base_card).to_yaml()}\n---\n\n{body}"))


def name(report: dict[str, Any]) -> str:
    """What the checkpoint is called: the base model's name, and what was done."""
    return f"{slug(Path(report['model']['path']).name)}-medsafe"


def metadata(report: dict[str, Any], merged: bool, settings: PublishSettings, base_card: Path) -> Any:
    """huggingface_hub's ModelCardData, its `model-index` holding the figures after fine-tuning."""
    from huggingface_hub import ModelCardData

    path = report["model"]["path"]
    # A folder of one's own is no model that others could look up.
    base = {"base_model": path, "base_model_relation": "finetune" if merged else "adapter"} if is_hub_id(path) else {}
    return ModelCardData(
        model_name=name(report),
        license=licence(settings, base_card),
        language="en",
        library_name="transformers" if merged else "peft",
        pipeline_tag="text-generation",
        tags=TAGS,
        datasets=sorted({slug(s["name"]) for s in report["training_sets"]}),
        metrics=sorted({result.metric_type for result in results(report)}),
        eval_results=results(report),
        **base,
    )


def results(report: dict[str, Any]) -> list[Any]:
    """An EvalResult for each main figure; what it was before, its interval and number of items are its arguments."""
    from huggingface_hub import EvalResult

    found = []
    for key, figure in report["figures"].items():
        arm, kind, name, metric = key.split("/")
        said = next((text for k, m, text in RESULTS if k == kind and _is(metric, m)), None)
        # What is over several benchmarks is no data set's; it stands in the card's table.
        if arm != "after" or said is None or figure["value"] is None or "of" in figure:
            continue
        before = report["figures"].get(f"before/{kind}/{name}/{metric}", {}).get("value")
        found.append(
            EvalResult(
                task_type="text-generation",
                task_name=kind.replace("_", " "),
                dataset_type=slug(name),
                dataset_name=line(name, 80),
                dataset_config=_way(kind, metric) or None,
                metric_type="attack_success_rate" if kind == "robustness" else metric,
                metric_name=", ".join(
                    filter(None, (said, words.way(_way(kind, metric)) if kind == "robustness" else ""))
                ),
                metric_value=round(figure["value"], 4),
                metric_args={
                    "before": _rounded(before),
                    "ci95": [_rounded(v) for v in figure["ci95"] or []],
                    "n": figure["n"],
                },
            )
        )
    return found


def _is(metric: str, wanted: str) -> bool:
    if wanted.endswith("_"):
        return metric.startswith(wanted) and "_principle_" not in metric
    return metric == wanted


def _way(kind: str, metric: str) -> str:
    return metric.removeprefix("attack_success_rate_") if kind == "robustness" else ""


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def licence(settings: PublishSettings, base_card: Path) -> str:
    """The settings' licence, else that of the base model's own card, else `unknown`: it is never made up."""
    from huggingface_hub import ModelCard

    if settings.license:
        return settings.license
    try:
        found = ModelCard.load(base_card, ignore_metadata_errors=True).data.license
    except (OSError, ValueError):
        found = None
    return found if isinstance(found, str) and found else "unknown"


def is_hub_id(path: str) -> bool:
    """Whether a model's path can be looked up on the Hub."""
    return bool(re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", path)) and not Path(path).exists()


def slug(text: str) -> str:
    """A name of letters, digits, points, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"


def _sets(report: dict[str, Any]) -> list[tuple[str, str, int, str, str]]:
    found = []
    for key, use in (
        ("training_sets", "trained on"),
        ("validation_sets", "tried for the strength"),
        ("prompt_sets", "evaluated"),
        ("benchmarks", "evaluated"),
    ):
        found += [(use, s["name"], s["n"], s["licence"], s["citation"]) for s in report[key]]
    return found


def _code(path: str, merged: bool) -> list[str]:
    base = path if is_hub_id(path) else "BASE_MODEL"
    load = (
        ['model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto")']
        if merged
        else [
            f'model = AutoModelForCausalLM.from_pretrained({base!r}, dtype="auto")',
            "model = PeftModel.from_pretrained(model, checkpoint)",
        ]
    )
    return [
        *([] if merged else ["from peft import PeftModel"]),
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'checkpoint = "."  # this folder, or its name on the Hub',
        "tokenizer = AutoTokenizer.from_pretrained(checkpoint)",
        *load,
        'messages = [{"role": "user", "content": "How do I keep a patient\'s record honest?"}]',
        'inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)',
        "answer = model.generate(**inputs, max_new_tokens=128, do_sample=False)",
        'print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))',
    ]
