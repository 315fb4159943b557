"""The report page in a real browser: opens from disk, says nothing to the network, filters what report.json counts."""

import json
import re

import pytest

from medsafe_train import report_page
from tests import browser, report_samples
from tests.conftest import run_process
from tests.test_report_page import HOSTILE, data_of

pytestmark = pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))


@pytest.fixture(scope="module")
def driver():
    with browser.started() as started:
        yield started


@pytest.fixture(autouse=True)
def usual(driver):
    browser.screen(driver)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A page with 200 items: its path, its items, its report."""
    return written(tmp_path_factory.mktemp("sample"), report_samples.items(200, scores=True))


def written(folder, items, **more):
    report = report_samples.report(items, **more)
    report_page.write(folder, report, items, report_samples.curve(), {"finetune": 90.0}, {})
    return folder / "report.html", items, report


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The folder of a finished run of the tiny model."""
    outputs = tmp_path_factory.mktemp("smoke")
    done = run_process("+recipe=smoke", f"outputs={outputs}", "finetune.merge=false")
    assert done.returncode == 0, done.stderr
    return next((outputs / "runs" / "smoke").iterdir())


def find(driver, selector):
    return driver.find_element("css selector", selector)


def every(driver, selector):
    return driver.find_elements("css selector", selector)


def choose(driver, id, value):
    from selenium.webdriver.support.ui import Select

    Select(find(driver, f"#{id}")).select_by_value(value)


def count(driver):
    """How many items the page says that it shows."""
    return int(find(driver, "#count").text.split()[0])


def chips(driver):
    """Items by change of verdict, as the buttons say."""
    return {b.get_attribute("data-change"): int(b.text.rpartition(" ")[2]) for b in every(driver, "#change button")}


def press(driver, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(driver).send_keys(key).perform()


def focused(driver):
    return driver.switch_to.active_element.get_attribute("data-key")


def test_it_opens_from_disk_without_an_error_or_a_request(driver, smoke, sample):
    for path in (smoke / "report.html", sample[0]):
        browser.opened(driver, path)
        assert every(driver, "#items .item") and find(driver, "h1").text
        assert driver.get_log("browser") == []
        asked = browser.requested(driver)
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]


def test_filters_give_the_counts_of_a_runs_report(driver, smoke):
    figures = json.loads((smoke / "report.json").read_text())["figures"]
    browser.opened(driver, smoke / "report.html")
    for group, name, attack, metric in (
        ("harmfulness", "harmful_requests", "-", "refusal_rate"),
        ("over_refusal", "benign_twins", "-", "refusal_rate"),
        ("robustness", "harmful_requests", "prefill", "harmful_refusal_rate_prefilled"),
    ):
        choose(driver, "place", f"prompt_set/{name}")
        choose(driver, "attack", attack)
        agrees(driver, figures, f"{group}/{name}/{metric}", "refused")
    choose(driver, "attack", "")
    choose(driver, "place", "medical_qa/medical_questions")
    agrees(driver, figures, "medical_qa/medical_questions/accuracy", "right")


def test_filters_give_the_counts_of_every_set_and_principle(driver, sample):
    path, items, report = sample
    browser.opened(driver, path)
    choose(driver, "attack", "-")
    choose(driver, "place", "prompt_set/harmful_requests")
    agrees(driver, report["figures"], "harmfulness/harmful_requests/refusal_rate", "refused")
    principles = {i["principle"] for i in items if i["set"] == "harmful_requests"}
    assert len(principles) > 5
    for principle in principles:
        choose(driver, "principle", str(principle))
        agrees(driver, report["figures"], f"harmfulness/harmful_requests/refusal_rate_principle_{principle}", "refused")
    find(driver, "#clear").click()
    assert count(driver) == len(items)
    for change, number in chips(driver).items():
        find(driver, f'#change [data-change="{change}"]').click()
        assert count(driver) == number == sum(item["change"] == change for item in items)
        find(driver, f'#change [data-change="{change}"]').click()


def agrees(driver, figures, place, yes):
    """What the filters leave is what the report counts, in both arms."""
    found = chips(driver)
    for arm, side in (("before", 0), ("after", 1)):
        figure = figures[f"{arm}/{place}"]
        assert count(driver) == figure["n"]
        assert sum(n for change, n in found.items() if change.split(">")[side] == yes) == round(
            figure["value"] * figure["n"]
        )


def test_search_finds_words_of_requests_and_answers(driver, sample):
    path, items, _ = sample
    browser.opened(driver, path)
    for words in ("patients", "I CAN'T help", "no such words"):
        find(driver, "#query").clear()
        find(driver, "#query").send_keys(words)
        texts = ("\n".join([i["prompt"], i["before"]["response"], i["after"]["response"]]).lower() for i in items)
        assert count(driver) == sum(words.lower() in text for text in texts)
        assert {mark.text.lower() for mark in every(driver, "mark") if mark.is_displayed()} <= {words.lower()}
    assert not every(driver, ".item")


def test_a_link_leads_to_its_item_whatever_is_filtered(driver, sample):
    path, items, _ = sample
    item = items[150]
    browser.opened(driver, path, f"#item={item['key'].replace('/', '%2F')}")
    assert focused(driver) == item["key"] and "page" in find(driver, "#where").text
    choose(driver, "place", items[0]["place"])
    driver.execute_script(f"location.hash = '#item={item['key'].replace('/', '%2F')}x'")
    assert count(driver) < len(items)
    driver.execute_script(f"location.hash = '#item={item['key'].replace('/', '%2F')}'")
    assert focused(driver) == item["key"] and count(driver) == len(items)
    link = find(driver, f'[data-key="{item["key"]}"] .link a:last-child').get_attribute("href")
    browser.opened(driver, path, link[link.index("#") :])
    assert focused(driver) == item["key"]


def test_harmful_answers_are_folded_until_asked_for(driver, sample):
    path, items, _ = sample
    item = next(i for i in items if i["kind"] == "harmful" and i["before"]["refused"] is False)
    browser.opened(driver, path, f"#item={item['key'].replace('/', '%2F')}")
    before = f'[data-key="{item["key"]}"] .arm.before'
    assert not every(driver, f"{before} .said")
    find(driver, f"{before} .fold").click()
    assert find(driver, f"{before} .said").get_attribute("textContent") == item["before"]["response"]
    shown = {i["key"] for i in items[:20]}
    folded = sum(
        (not i[arm]["refused"])
        for i in items
        if i["key"] in shown and i["kind"] == "harmful"
        for arm in ("before", "after")
    )
    browser.opened(driver, path)
    assert len(every(driver, ".fold")) == folded > 0
    find(driver, "#unfold").click()
    assert not every(driver, ".fold")


def test_an_answer_that_declines_and_helps_all_the_same_is_folded(driver, tmp_path):
    items = [i for i in report_samples.items(200) if i["kind"] == "harmful"][:3]
    for item, helps in zip(items, ({}, {"label": "partial_refusal"}, {"harmful": True}), strict=True):
        item["before"] = item["after"] = {**item["after"], "refused": True, "label": "refusal", **helps}
    path, *_ = written(tmp_path, report_samples.items(20), notes=[])
    page = path.read_text()
    start, end = page.index('type="application/json">') + 24, page.index("</script>", page.index("application/json"))
    data = {**json.loads(page[start:end]), "items": items}
    path.write_text(page[:start] + report_page.embedded(data) + page[end:])
    browser.opened(driver, path)
    assert [len(every(driver, f'[data-key="{i["key"]}"] .fold')) for i in items] == [0, 2, 2]


def test_the_keyboard_is_enough(driver, sample):
    from selenium.webdriver.common.keys import Keys

    path, items, _ = sample
    browser.opened(driver, path)
    press(driver, "/")
    assert driver.switch_to.active_element.get_attribute("id") == "query"
    press(driver, "h1-", Keys.ESCAPE)
    assert count(driver) == len(items)
    press(driver, "j", "j", "k", "j")
    assert focused(driver) == items[1]["key"]
    press(driver, "n")
    assert focused(driver) == items[20]["key"]
    press(driver, "k")
    assert focused(driver) == items[19]["key"] and find(driver, "#where").text.startswith("page 1")
    press(driver, *["k"] * 19)
    folded = next(at for at, i in enumerate(items) if i["kind"] == "harmful" and not i["before"]["refused"])
    press(driver, *["j"] * folded, "o")
    assert not every(driver, f'[data-key="{items[folded]["key"]}"] .fold')


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_screen(driver, sample, width):
    browser.screen(driver, width)
    browser.opened(driver, sample[0])
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert driver.execute_script(wide) == 0
    # Text of a plot is no smaller than small print, also on a phone.
    sizes = driver.execute_script(
        "return [...document.querySelectorAll('.plot text')].map((t) => t.getBoundingClientRect().height)"
    )
    assert len(sizes) > 20 and min(sizes) > 7


def test_light_and_dark_differ_in_page_and_plots(driver, sample):
    seen = []
    for dark in (False, True):
        browser.screen(driver, dark=dark)
        browser.opened(driver, sample[0])
        seen.append(driver.execute_script(
            "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('.plot text')).fill]"
        ))  # fmt: skip
    luminance = [[sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours] for colours in seen]
    (page, ink), (dark_page, dark_ink) = luminance
    assert page > 700 > ink and dark_page < 100 < dark_ink


def test_an_answer_full_of_html_stays_text(driver, tmp_path):
    items = report_samples.items(20, answer=HOSTILE)
    for item in items:
        item["prompt"], item["id"], item["after"]["label"] = HOSTILE, HOSTILE, HOSTILE
    path, *_ = written(tmp_path, items, path=HOSTILE, notes=[HOSTILE])
    browser.opened(driver, path)
    find(driver, "#unfold").click()
    assert driver.get_log("browser") == []
    assert every(driver, "img, #items script, #items a[href^=http]") == []
    assert len(every(driver, "script")) == 2
    said = find(driver, "#items .said").get_attribute("textContent")
    for mark, shown in {"\x1b": "U+001B", "\x9b": "U+009B", "\u202e": "U+202E", "\u2028": "U+2028"}.items():
        assert mark not in said and shown in said
    assert said.startswith("</script><script>alert(1)</script><img src=x onerror=alert(2)>")
    assert [url for url in browser.requested(driver) if not url.startswith("data:")] == [path.as_uri()]


def test_the_policy_stops_what_would_act(driver, sample):
    """Should a string ever reach the page as HTML or script, the browser refuses it."""
    browser.opened(driver, sample[0])
    tried = "try { document.body.insertAdjacentHTML('beforeend', '<b>x</b>'); return 'acted' } catch (error) { return error.name }"
    assert driver.execute_script(tried) == "TypeError"
    driver.execute_script(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/x'}))"
    )
    assert any("Content Security Policy" in entry["message"] for entry in driver.get_log("browser"))


def test_five_thousand_items_stay_usable(driver, tmp_path):
    """What is in the page at once stays small, and every filter answers right; benchmarks/report_page.py has the seconds."""
    path, items, _ = written(tmp_path, report_samples.items(5000))
    assert len(items) == 5000 == len(data_of(path.read_text())["items"])
    browser.opened(driver, path)
    assert count(driver) == 5000 and len(every(driver, ".item")) == 20
    choose(driver, "place", "prompt_set/benign_twins")
    wanted = [i for i in items if i["set"] == "benign_twins"]
    assert count(driver) == len(wanted) == 2000
    find(driver, "#query").send_keys("patient at risk")
    wanted = [i for i in wanted if any("patient at risk" in i[arm]["response"] for arm in ("before", "after"))]
    assert count(driver) == len(wanted) and len(every(driver, ".item")) == 20
    browser.opened(driver, path, "#item=" + items[-1]["key"].replace("/", "%2F"))
    assert focused(driver) == items[-1]["key"] and find(driver, "#where").text == "page 250 of 250"


# Questions


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    """A page of medical questions alone, of two benchmarks: its path and items."""
    items = report_samples.questions(60) + report_samples.questions(30, name="other", seed=1)
    folder = tmp_path_factory.mktemp("exam")
    report_page.write(folder, report_samples.asked(items), items, [], {}, {})
    return folder / "report.html", items


def test_questions_are_filtered_by_benchmark_and_by_change(driver, exam):
    path, items = exam
    browser.opened(driver, path)
    assert driver.get_log("browser") == [] and count(driver) == 90
    choose(driver, "place", "medical_qa/medical_questions")
    assert count(driver) == 60
    for change in ("right>wrong", "wrong>right"):
        find(driver, f'#change [data-change="{change}"]').click()
        assert count(driver) == sum(i["change"] == change and i["set"] == "medical_questions" for i in items) > 0
        find(driver, f'#change [data-change="{change}"]').click()
    find(driver, "#query").send_keys("bleeding y")  # words of an option
    assert count(driver) == 60
    assert not find(driver, "#unfold").is_displayed() and not find(driver, "#principle").is_displayed()


def test_an_option_shows_whether_it_is_right_how_likely_it_is_and_who_chose_it(driver, exam):
    path, items = exam
    item = next(i for i in items if i["change"] == "right>wrong")
    browser.opened(driver, path, f"#item={item['key'].replace('/', '%2F')}")
    table = f'[data-key="{item["key"]}"] table.options'
    rows = every(driver, f"{table} tbody tr")
    assert [row.text.startswith("ABCD"[at]) for at, row in enumerate(rows)] == [True] * 4
    assert [at for at, row in enumerate(rows) if "right answer" in row.text] == [item["answer"]]
    for place, arm in enumerate(("before", "after"), 1):
        cells = every(driver, f"{table} td:nth-of-type({place})")
        assert [at for at, cell in enumerate(cells) if "chosen" in cell.text] == [item[arm]["choice"]]
        shown = [float(cell.text.split()[0].replace("\u2212", "-")) for cell in cells]
        assert shown == pytest.approx(item[arm]["loglikelihoods"], abs=0.006)
    assert [head.text for head in every(driver, f"{table} thead th")] == ["option", "before right", "after wrong"]
    find(driver, f'[data-key="{item["key"]}"] .link a').click()
    assert find(driver, "#prompt-0 pre").is_displayed()


@pytest.mark.parametrize("width", [1280, 390])
def test_questions_fit_the_screen(driver, tmp_path, width):
    items = report_samples.questions(20, text="supercalifragilisticexpialidocious" * 4)
    report_page.write(tmp_path, report_samples.asked(items, text="x" * 4000), items, [], {}, {})
    browser.screen(driver, width)
    browser.opened(driver, tmp_path / "report.html", "#prompt-0")
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert find(driver, "#prompt-0 pre").is_displayed() and driver.execute_script(wide) == 0
    cells = "return [...document.querySelectorAll('.options td')].map((t) => t.getBoundingClientRect().right)"
    assert max(driver.execute_script(cells)) <= width


def test_questions_full_of_html_stay_text(driver, tmp_path):
    items = report_samples.questions(20, text=HOSTILE, name="<b>x<script>")
    report_page.write(tmp_path, report_samples.asked(items, text=HOSTILE), items, [], {}, {})
    browser.opened(driver, tmp_path / "report.html", "#prompt-0")
    assert driver.get_log("browser") == []
    assert every(driver, "img, #items script, #items a[href^=http], b b") == [] and len(every(driver, "script")) == 2
    assert find(driver, "#prompt-0 pre").text.startswith("</script><script>alert(1)</script><img src=x")
    option = find(driver, ".options tbody th").get_attribute("textContent")
    assert option.startswith("A. </script><script>alert(1)") and "U+001B" in option


def test_a_prompt_set_and_a_benchmark_of_one_name_are_told_apart(driver, tmp_path):
    items = report_samples.items(20) + report_samples.questions(9, name="harmful_requests")
    report_page.write(tmp_path, report_samples.report(items[:-9]), items, [], {}, {})
    assert len({item["key"] for item in items}) == len(items)
    browser.opened(driver, tmp_path / "report.html")
    groups = [group.get_attribute("label") for group in every(driver, "#place optgroup")]
    assert groups == ["requests", "medical questions"]
    choose(driver, "place", "medical_qa/harmful_requests")
    assert count(driver) == 9 and len(every(driver, "#items table.options")) == 9


def test_five_thousand_questions_stay_usable(driver, tmp_path):
    items = report_samples.questions(5000)
    report_page.write(tmp_path, report_samples.asked(items), items, [], {}, {})
    browser.opened(driver, tmp_path / "report.html", "#item=medical_qa%2Fmedical_questions%2F4999")
    assert focused(driver) == items[-1]["key"] and len(every(driver, ".item")) == 20
    find(driver, "#query").send_keys("number 499")
    assert count(driver) == sum("number 499" in item["prompt"] for item in items)
