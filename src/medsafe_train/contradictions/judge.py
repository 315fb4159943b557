"""What in the judge's settings cannot be meant."""

from __future__ import annotations

from medsafe_train.config import JudgeSettings
from medsafe_train.contradictions import server


def wrong(j: JudgeSettings) -> list[str]:
    """What is wrong, a sentence each with the next step."""
    names = [j.name, *j.also]
    remote, local, guard = "rubric" in names, "local_rubric" in names, "guard" in names
    auto = j.name == "auto"
    rules = [
        (0 <= j.min_coverage <= 1, f"judge.min_coverage={j.min_coverage} must be in [0, 1]"),
        (len(set(names)) == len(names), f"judge.also={j.also} names a judge twice, judge.name={j.name} counted: name each once"),
        ("auto" not in j.also, "judge.also must name judges; auto is for judge.name alone"),
        (
            not (remote and local),
            "rubric and local_rubric both take their model from judge.model: choose one of them",
        ),
        (not j.base_url or remote or auto, f"judge.base_url is set, but the judge is {j.name}: add judge=rubric or judge=auto"),
        (not j.model or remote or local or auto, f"judge.model={j.model} needs judge=rubric or judge=local_rubric"),
        (
            not auto or bool(j.base_url) == bool(j.model),
            "judge=auto judges by a rubric where judge.base_url and judge.model are both set: set the other one too",
        ),
        (not local or bool(j.model), "judge=local_rubric needs judge.model=HUB_ID_OR_FOLDER, a chat model"),
        (not j.revision or local, f"judge.revision={j.revision} needs judge=local_rubric"),
        (not guard or bool(j.guard), "judge=guard needs judge.guard=HUB_ID_OR_FOLDER, for example meta-llama/Llama-Guard-3-8B"),
        *((guard or not value, f"judge.{name}={value} needs judge=guard") for name, value in
          {"guard": j.guard, "guard_revision": j.guard_revision, "guard_format": j.guard_format,
           "guard_template": j.guard_template}.items()),
    ]  # fmt: skip
    found = [text for good, text in rules if not good]
    if remote or (auto and (j.base_url or j.model)):
        found += server.wrong(j, "judge", "judge=rubric")
    return found + server.numbers(j, "judge")
