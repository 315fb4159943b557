"""How long report.html takes to be made, to appear and to filter, at 5,000 items, in Debian's Chromium.

python benchmarks/report_page.py [ITEMS]    # prints; needs chromium, chromium-driver and selenium
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import browser, report_samples

from medsafe_train import report_page

# Sets a filter as a person does, and waits until what it shows is laid out.
FILTER = """
const [id, value] = arguments, node = document.getElementById(id), start = performance.now();
node.value = value;
node.dispatchEvent(new Event(node.tagName === "SELECT" ? "change" : "input", { bubbles: true }));
document.getElementById("items").getBoundingClientRect();
return performance.now() - start;
"""
PAINT = "return performance.getEntriesByType('paint').map((entry) => [entry.name, entry.startTime])"
STEPS = (("place", "prompt_set/harmful_requests"), ("attack", "prefill"), ("principle", "5"), ("principle", ""), ("query", "patient"), ("query", "nowhere"), ("query", ""), ("place", ""))  # fmt: skip


def main(number: int) -> None:
    """Make the page, open it five times, filter it each time."""
    if why := browser.missing():
        sys.exit(why)
    items = report_samples.items(number, scores=True)
    report = report_samples.report(items)
    start = time.monotonic()
    page = report_page.render(report, items, report_samples.curve(), {}, {})
    print(f"{len(items)} items, {len(page) / 1e6:.1f} MB, made in {time.monotonic() - start:.1f} s")
    with tempfile.TemporaryDirectory() as folder, browser.started() as driver:
        path = Path(folder) / "report.html"
        path.write_text(page, encoding="utf-8")
        paints, filters = [], []
        for _ in range(5):
            browser.opened(driver, path)
            paints.append(dict(driver.execute_script(PAINT))["first-contentful-paint"])
            filters += [driver.execute_script(FILTER, *step) for step in STEPS]
        print(f"first contentful paint, ms: median {statistics.median(paints):.0f}, largest {max(paints):.0f}")
        print(f"a filter, ms: median {statistics.median(filters):.0f}, largest {max(filters):.0f} of {len(filters)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
