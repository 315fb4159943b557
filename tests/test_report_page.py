"""report.html: one inert file, the same bytes for the same run, with every item and the figures of report.json."""

import base64
import csv
import hashlib
import html
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from medsafe_train import artifacts, measured, pages, report_page
from medsafe_train.markdown import cell, inert, line
from medsafe_train.report_page import answer, made, plots, transcripts
from tests import report_samples

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> [x](http://evil.example) ![i](y) `c` | a | "
    "\x1b[31mred\x1b[0m \x9b31m \u202e# h\n=cmd()\u2028{{ 7 * 7 }} $\\frac{a}{b}$ <!-- ]]> &lt; javascript:alert(3)"
)


@pytest.fixture(scope="module")
def items():
    return report_samples.items(200, scores=True)


@pytest.fixture(scope="module")
def page(items):
    return report_page.render(report_samples.report(items), items, report_samples.curve(), {"finetune": 90.0}, {})


@pytest.fixture(scope="module")
def hostile():
    """A page in which everything that a stranger may have written is hostile."""
    found = report_samples.items(60, answer=HOSTILE)
    for item in found:
        item["prompt"] = item["before"]["explanation"] = item["after"]["label"] = HOSTILE
    made = report_samples.report(
        found, path=HOSTILE, name=HOSTILE, notes=[HOSTILE], judge={"name": HOSTILE, "validation": None}
    )
    for key in ("prompt_sets", "benchmarks"):
        made[key][0] |= {"licence": HOSTILE, "citation": HOSTILE}
    made["figures"]["after/medical_qa/" + HOSTILE.replace("/", "") + "/accuracy"] = made["figures"][
        "after/medical_qa/medical_questions/accuracy"
    ]
    made["figures"]["before/medical_qa/" + HOSTILE.replace("/", "") + "/accuracy"] = made["figures"][
        "before/medical_qa/medical_questions/accuracy"
    ]
    made["settings"]["teacher"] = {HOSTILE: HOSTILE}
    return found, report_page.render(made, found, [], {}, {})


class Elements(HTMLParser):
    """The elements and attributes of a page, and what its scripts hold."""

    def __init__(self, text):
        super().__init__()
        self.found, self.scripts, self.inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, text):
        if self.inside == "script":
            self.scripts[-1] += text

    def handle_endtag(self, tag):
        self.inside = None


def data_of(page):
    return json.loads(Elements(page).scripts[0])


def test_the_same_run_gives_the_same_bytes(items, page):
    again = report_page.render(report_samples.report(items), items, report_samples.curve(), {"finetune": 90.0}, {})
    assert again == page
    other = report_page.render(report_samples.report(items), items, report_samples.curve(), {"finetune": 91.0}, {})
    differing = [one for one, two in zip(page.splitlines(), other.splitlines(), strict=True) if one != two]
    assert len(differing) == 1 and "1 min 30 s" in differing[0]


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(page):
    elements = Elements(page)
    (policy,) = [a["content"] for tag, a in elements.found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy
    assert len(elements.scripts) == 2
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    for kind, text in (("script", elements.scripts[1]), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_it_asks_no_network_for_anything(page, hostile):
    for text in (page, hostile[1]):
        for tag, attributes in Elements(text).found:
            assert tag not in (
                "iframe",
                "object",
                "embed",
                "base",
                "img",
                "audio",
                "video",
                "form" if "action" in attributes else "",
            )
            for name in ("src", "href", "xlink:href", "action", "srcset", "data", "poster"):
                assert attributes.get(name, "#").startswith(("#", "data:,")), (tag, attributes)
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
        assert "url(" not in style and "@import" not in style


def test_hostile_text_is_text_everywhere(hostile, items, page):
    found, text = hostile
    elements, usual = Elements(text), Elements(page)
    assert {tag for tag, _ in elements.found} <= {tag for tag, _ in usual.found} and len(elements.scripts) == 2
    raw = text.replace(elements.scripts[1], "")
    assert "{{ 7 * 7 }}" in raw
    for mark in ("<script>alert", "<img", "\x1b", "\x9b", "\u2028", "\u202e"):
        assert mark not in raw
    # Nothing got lost on the way: the data hold every answer as it was.
    assert data_of(text)["items"] == json.loads(json.dumps(found))
    assert html.escape("</script><script>alert(1)") in text


def test_data_are_ascii_without_a_character_of_html(hostile):
    script = Elements(hostile[1]).scripts[0]
    assert script.isascii() and not set("<>&") & set(script) and "\n" not in script


def test_plots_are_drawn_in_the_pages_colours_and_say_what_they_show(items):
    drawn = plots.draw(report_samples.report(items), items, report_samples.curve())
    assert [plot.name for plot in drawn] == [
        "plane",
        "scores",
        "principles-0",
        "principles-1",
        "attacks",
        "questions",
        "training",
    ]
    for plot in drawn:
        root = ElementTree.fromstring(plot.svg)
        attributes = [node.attrib for node in root.iter()]
        assert root.get("aria-label") and not [a for a in attributes if "style" in a]
        colours = {v for a in attributes for k, v in a.items() if k in ("fill", "stroke")} - {"none"}
        assert colours and all(colour.startswith("var(--") for colour in colours), (plot.name, colours)
        ids = [a["id"] for a in attributes if "id" in a]
        assert len(ids) == len(set(ids)) and all(id.startswith(f"{plot.name}-") for id in ids)
        used = set(re.findall(r"url\(#([^)]+)\)", plot.svg)) | {a["href"][1:] for a in attributes if "href" in a}
        assert used <= set(ids)


def test_scores_between_two_levels_go_up_as_everywhere(items):
    halves = [
        {**item, "before": {**item["before"], "score": 2.5}, "after": {**item["after"], "score": 4.5}} for item in items
    ]
    (scores,) = (plot for plot in plots.draw(report_samples.report(items), halves, []) if plot.name == "scores")
    number = sum(item["kind"] == "harmful" and not item["attack"] for item in items)
    assert f"before: 0 scored 1, 0 scored 2, {number} scored 3," in scores.svg and f"{number} scored 5" in scores.svg


def test_a_run_without_a_figure_has_no_such_plot(items):
    report = report_samples.report(items, scale=None, figures={})
    assert (
        plots.draw(report, [{**item, "before": {"score": None}, "after": {"score": None}} for item in items], []) == []
    )
    cards = answer.cards(report)
    assert [card.place for card in cards] == [""] * 4 and answer.sentence(report, cards).startswith(
        "Nothing was measured"
    )
    page = report_page.render(report, [], [], {}, {})
    assert 'class="card' not in page and 'id="transcripts"' not in page and 'id="plots"' not in page


def test_the_plane_shows_the_strengths_that_were_tried(items):
    plane = lambda **more: plots.draw(report_samples.report(items, **more), [], [])[0].svg  # noqa: E731
    assert "×0.9" in plane() and "×0.9" not in plane(scale=None)


def test_the_answer_has_the_figures_of_the_report(items):
    report = report_samples.report(items)
    cards = answer.cards(report)
    assert [card.kind for card in cards] == ["harmfulness", "over_refusal", "robustness", "medical_qa"]
    for card in cards:
        assert (
            card.after == report["figures"][f"after/{card.place}"]
            and card.delta == report["figures"][f"delta/{card.place}"]
        )
    assert [card.place.split("/")[1] for card in cards] == [
        "harmful_requests",
        "benign_twins",
        "harmful_requests",
        "medical_questions",
    ]
    said = answer.sentence(report, cards)
    for card in cards:
        assert (
            f"{100 * card.after['value']:.0f}\u00a0%" in said
            and f"(before: {100 * card.before['value']:.0f}\u00a0%)" in said
        )


@pytest.mark.parametrize("alone", [True, False])
def test_several_benchmarks_are_one_figure_that_says_what_it_is_of(items, alone):
    from medsafe_train.evidence import pooled
    from tests.test_claims import measured as of_pairs

    made = {
        **of_pairs("medical_qa/medqa/accuracy", 10, 2, 3, 25, 0.25),
        **of_pairs("medical_qa/pubmedqa/accuracy", 12, 3, 2, 23, 0.33),
    }
    made = {key: figure for key, figure in made.items() if key.startswith("before/") or not alone}
    pooled.accuracy(made)
    report = report_samples.report(items, figures=made)
    (card,) = (card for card in answer.cards(report) if card.place)
    assert (card.place, card.set, (card.after or card.before)["n"]) == (pooled.PLACE, "medqa, pubmedqa", 80)
    assert card.what == "medical questions answered right, 2 benchmarks pooled"
    said = answer.sentence(report, [card])
    assert "of 80 medical questions right in 2 benchmarks pooled" in said
    who, before = ("It", "") if alone else ("The base model", " (before: 34\u00a0%)")
    assert f"pooled{before}. {who} cannot be told from chance with 80 questions (33.8 %, interval " in said
    assert "base model" not in said or not alone
    one = report_samples.report(items, figures=of_pairs("medical_qa/medqa/accuracy", 30, 2, 3, 5, 0.25))
    assert "gets 82\u00a0% of 40 medical questions right in medqa (before: 80\u00a0%)." in answer.sentence(
        one, answer.cards(one)
    )


def test_better_and_worse_are_told_by_the_interval():
    card = lambda low, high, more: answer.Card("k", "h", "w", "{}", "k/s/m", {}, {}, {"ci95": [low, high]}, more).change  # noqa: E731
    assert card(0.1, 0.2, True) == card(-0.2, -0.1, False) == "better"
    assert card(0.1, 0.2, False) == card(-0.2, -0.1, True) == "worse"
    assert card(-0.1, 0.1, True) == card(0, 0.1, True) == "open"


def test_under_attack_the_weakest_figure_is_shown(items):
    report = report_samples.report(items)
    assert answer.cards(report)[2].set == "harmful_requests, answer begun with assent"
    weak = report["figures"]["before/robustness/harmful_requests/attack_success_rate_prefill"]
    for arm in ("before", "after", "delta"):
        for metric in ("attack_success_rate_past_tense", "attack_success_rate_past_tense_principle_1"):
            report["figures"][f"{arm}/robustness/harmful_requests/{metric}"] = weak
    assert answer.cards(report)[2].place.endswith("_past_tense")
    assert answer.cards(report)[2].set == "harmful_requests, put in the past tense"


def test_how_it_was_made_is_told_whole(items):
    report = report_samples.report(items)
    found = {section.name: section for section in made.sections(report, {"finetune": 90.0, "responses": 30.0}, {})}
    assert ("validation", "not measured in this run") in found["judge"].terms
    assert dict(found["time"].terms) == {"finetune": "1 min 30 s", "responses": "30 s", "together": "2 min 0 s"}
    rows = {row[0]: row for row in found["data"].rows}
    assert rows["harmful_requests"][1] == "40 evaluated, 40 trained on, 40 tried for the strength"
    assert "CC-BY-4.0" in rows["medical_questions"] and "1" * 64 in rows["medical_questions"][-1]
    assert ("finetune.learning_rate", "0.0005") in found["settings"].terms
    spent = {s.name: s for s in made.sections(report, {"finetune": 90.0, "responses": 30.0}, {"finetune": 7200.0})}
    assert spent["time"].title == "Time and energy"
    assert dict(spent["time"].terms) == {
        "finetune": "1 min 30 s, 2.0 Wh of the GPUs",
        "responses": "30 s",
        "together": "2 min 0 s, 2.0 Wh of the GPUs",
    }
    judged = made.sections({**report, "judge": {"name": "x", "validation": {"kappa": 0.91}}}, {}, {})
    assert ("validation.kappa", "0.91") in next(s for s in judged if s.name == "judge").terms


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "\n=1", "\x00=1", "\u202e=1", "＝1", HOSTILE]
)
def test_no_cell_is_a_formula_or_acts_in_a_terminal(text):
    shown = cell(text)
    assert shown.lstrip(" ")[0] not in "=+-@\t\r\n＝"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028]", shown)


def test_the_spreadsheet_has_every_answer(items):
    found = [*items, {**items[0], "key": "x", "prompt": '=HYPERLINK("http://evil.example")', "id": "-1"}]
    rows = list(csv.DictReader(io.StringIO(transcripts.as_csv(found))))
    assert len(rows) == len(found)
    assert rows[3]["after_response"] == cell(items[3]["after"]["response"]) and rows[3]["change"] == items[3]["change"]
    assert rows[-1]["prompt"].startswith("'=") and rows[-1]["id"] == "'-1"


def test_markdown_and_terminal_lines_are_inert():
    shown = inert(line(HOSTILE, 1000))
    for mark in ("<script", "<img", "\x1b", "\x9b", "\n", "\u202e", "\u2028", "](", "![", "`c`", "://", " | "):
        assert mark not in shown


def test_transcripts_are_joined_by_id(tmp_path):
    """Responses and verdicts of every arm, attack and judge, whatever their order on disk."""
    from medsafe_train.artifacts import Store
    from medsafe_train.attacks import Asked
    from medsafe_train.attacks.rounds import Round
    from medsafe_train.evidence import Evaluation
    from medsafe_train.sources.prompt_sets import Prompt, PromptSet
    from medsafe_train.sources.questions import Benchmark, Question

    def write(kind, name, records):
        return Store(tmp_path).make(
            kind, {"records": records}, lambda folder: artifacts.write_jsonl(folder / name, records)
        )

    def answered(way, arm):
        more = {"asked": "A!", "begun": "Sure,"} if way else {}
        return write(
            "responses",
            "responses.jsonl",
            [{"id": id, "response": f"{arm} {way} {id}", "finish_reason": "stop", **more} for id in "ab"],
        )

    def judged(**refused):
        verdicts = [
            {
                "id": id,
                "refused": yes,
                "label": "l",
                "score": 4.0 if yes else None,
                "outcome": "scored",
                "explanation": "e",
            }
            for id, yes in reversed(refused.items())
        ]
        return write("verdicts", "verdicts.jsonl", verdicts)

    def asked(choice, correct):
        likely = {"loglikelihoods": [-1.23456, -2.0], "choice_normalised": 1}
        seeds = [
            {"id": "q", "choice": choice, "correct": correct, **likely},
            {"id": "q", "choice": 0, "correct": False, **likely},
        ]
        return write("medical_qa", "answers.jsonl", seeds)

    arms = {
        arm: Evaluation(
            responses={"s": answered("", arm), "s/prefill": answered("prefill", arm)},
            verdicts={"s": judged(a=plain, b=None), "s/prefill": judged(a=begun, b=True)},
            answers={"m": asked(*choice)},
            also={"other": {"s": judged(a=True, b=False)}},
        )
        for arm, plain, begun, choice in (("before", False, True, (0, False)), ("after", True, False, (1, True)))
    }
    prompts = PromptSet("s", "harmful", [Prompt("a", "A?", 1, "pair"), Prompt("b", "B?")], {})

    class Data:
        rounds = (Round(prompts), Round(prompts, "prefill", {"a": Asked("A!", "Sure,")}))
        benchmarks = (Benchmark("m", "mcq", False, [Question("q", "Q?", ("x", "y"), 1)], {}, "", ""),)

    found = {item["key"]: item for item in transcripts.collect(Data, arms)}
    assert {key: item["change"] for key, item in found.items()} == {
        "prompt_set/s/a": "answered>refused", "prompt_set/s/b": "unscored", "prompt_set/s/a@prefill": "refused>answered",
        "prompt_set/s/b@prefill": "refused>refused", "medical_qa/m/q": "wrong>right",
    }  # fmt: skip
    assert (
        found["prompt_set/s/a"]["before"]["response"] == "before  a"
        and found["prompt_set/s/b@prefill"]["after"]["response"] == "after prefill b"
    )
    assert (
        found["prompt_set/s/a"]["before"]["also"]["other"]["refused"]
        and "also" not in found["prompt_set/s/a@prefill"]["before"]
    )
    assert found["prompt_set/s/a"]["after"]["harmful"] is True and found["prompt_set/s/a"]["before"]["harmful"] is None
    assert found["prompt_set/s/a@prefill"]["begun"] == "Sure," and "begun" not in found["prompt_set/s/a"]
    assert found["prompt_set/s/a"]["pair"] == "pair" and found["medical_qa/m/q"]["options"] == ["x", "y"]
    asked_after = found["medical_qa/m/q"]["after"]
    assert asked_after == {"choice": 1, "correct": True, "loglikelihoods": [-1.235, -2.0]}
    alone = transcripts.collect(Data, {"before": arms["before"]})
    assert [item["change"] for item in alone] == ["answered", "unscored", "refused", "refused", "wrong"]


def test_one_model_alone_has_a_page_too(items):
    """What was measured of one model: no change, no claim, nothing about an after."""
    alone = [{**{k: v for k, v in item.items() if k != "after"}, "change": "refused"} for item in items]
    made = report_samples.report(items)
    for key in (
        "claims",
        "gate",
        "demonstrations",
        "finetune",
        "near_copies",
        "training_sets",
        "validation_sets",
        "scale",
        "merge_check",
    ):
        del made[key]
    made["figures"] = {key: figure for key, figure in made["figures"].items() if key.startswith("before/")}
    page = report_page.render(made, alone, [], {}, {})
    assert (
        "before and after" not in page.split("<nav")[0]
        and 'class="after"' not in page
        and "After fine-tuning" not in page
    )
    assert page.count("<dt>model</dt>") == 4 and "<dt>before</dt>" not in page and "<dt>change</dt>" not in page
    assert transcripts.as_csv(alone).splitlines()[0].endswith("before_explanation")


def test_claims_and_gate_are_told(items, page):
    report = report_samples.report(items)
    assert len(report["claims"]) > 3 and len(report["gate"]["criteria"]) > 3
    for one in report["claims"] + report["gate"]["criteria"]:
        assert html.escape(one["sentence"]) in page and one["verdict"] in page
    assert f'class="verdict {report["gate"]["verdict"]}"' in page


# Questions alone


def test_title_and_headings_follow_what_the_run_has(items):
    both, alone = report_samples.questions(20), report_samples.questions(20, arms=("before",))
    asked = report_samples.asked(alone, path="M")
    assert measured.heading(asked) == "Medical QA of M"
    assert measured.heading(report_samples.asked(both, path="M")) == "M before and after fine-tuning"
    judged = {"before/harmfulness/s/refusal_rate": asked["figures"]["before/medical_qa/medical_questions/accuracy"]}
    assert measured.heading({**asked, "figures": judged}) == "Evaluation of M"
    page, text = report_page.render(asked, alone, [], {}, {}), pages.markdown(asked, {})
    assert "<title>Medical QA of M" in page and text.startswith("# evaluate: Medical QA of M\n")
    for said in (page.replace(report_page.STYLE, "").split('<script id="data"')[0], text):
        assert (
            "before" not in said.lower().replace('class="before"', "").replace("--before", "")
            and "fine-tun" not in said
        )
    assert "<title>M before and after" in report_page.render(report_samples.asked(both, path="M"), both, [], {}, {})


def test_sections_with_nothing_in_them_are_left_out(items):
    alone = report_samples.questions(20, arms=("before",))
    asked = report_samples.asked(alone)
    page, text = report_page.render(asked, alone, [], {}, {}), pages.markdown(asked, {})
    assert "answers side by side" not in text and "Chosen by a hash" not in text
    for gone in ("made-judge", "made-training", "card-harmfulness", "the judge", 'class="check">'):
        assert gone not in page, gone
    assert 'id="card-medical_qa"' in page and 'id="plot-questions"' in page
    sample = {"kind": "harmful", "set": "s", "prompt": "p", "before": {"response": "r", "label": "refusal"}}
    whole = pages.markdown({**report_samples.report(items), "samples": [{**sample, "after": sample["before"]}] * 6}, {})
    assert "## Six answers side by side" in whole and "> *after* (refusal): r" in whole
    one = pages.markdown({**asked, "samples": [sample]}, {})
    assert "## One answer\n" in one and "> *model* (refusal): r" in one


def test_report_and_page_say_how_the_questions_were_asked():
    found = report_samples.questions(40, arms=("before",))
    asked = report_samples.asked(found, text="Q: <b>Shown first</b>\nAnswer: B\n\nQ: Which?\nAnswer:")
    row = "first 40 of 1,273 | plain text | 2, fewer in 1 of 40 prompts | 0, 7"
    assert f"| medical_questions | {row} |" in pages.markdown(asked, {})
    page = report_page.render(asked, found, [], {}, {})
    assert (
        "first 40 of 1,273" in page and "Q: &lt;b&gt;Shown first&lt;/b&gt;" in page and page.count("Shown first") == 1
    )
    assert data_of(page)["prompts"] == {"medical_qa/medical_questions": "prompt-0"}
    asked["benchmarks"][0] |= {"of": 40, "format": "chat_template", "shots": 0, "asked_with": {"0": 40}, "seeds": []}
    assert "| all 40 | the model's chat template | 0 | – |" in pages.markdown(asked, {})
