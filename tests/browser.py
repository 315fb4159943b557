"""Debian's Chromium, driven through chromedriver; for the report page's tests and its benchmark."""

import json
import shutil
import tempfile
from contextlib import contextmanager

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root in containers; the page asks for nothing and may run nothing
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


def missing():
    """Why there is no browser here, or None."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed: pip install 'medsafe_train[browser]'"
    if not CHROMIUM or not DRIVER:
        return "no chromium and chromedriver here: apt-get install chromium chromium-driver"
    return None


@contextmanager
def started():
    """A browser with a profile of its own, whose console and requests are logged."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            yield driver
        finally:
            driver.quit()


def opened(driver, path, fragment=""):
    """Open a file, as a person would from disk."""
    driver.get("about:blank")
    for kind in ("browser", "performance"):
        driver.get_log(kind)  # what was before
    driver.get(path.as_uri() + fragment)
    return driver


def requested(driver):
    """The addresses that were asked for since `opened`."""
    events = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def screen(driver, width=1280, height=900, dark=False):
    """Make the window as wide as a desktop or a phone, and light or dark."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wished = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wished.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
