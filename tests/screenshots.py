"""Makes the pictures of the documents: the demo with callers, in a headless Chromium.

    python -m tests.screenshots [--seconds 75]

Writes `docs/images/dashboard.png` and `docs/images/docs.png`. It wants Debian's packages `chromium` and
`chromium-driver`. The live page shows as many seconds of traffic as it was given.
"""

import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Event, Thread

import httpx
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.documents import running_demo
from tests.endpoints.test_docs_in_browser import CHROMEDRIVER, CHROMIUM, FLAGS, PATIENCE
from tests.node.running_node import ROOT

IMAGES = ROOT / "docs" / "images"
LARGEST = 150_000
"""Bytes of a picture, at most: they are in every clone."""

OPERATION = "/docs#/coredinator_post_api_agents_start"

PAGES = {"dashboard": ("/dashboard", "#link-text", (1100, 820)), "docs": (OPERATION, ".execute", (1100, 760))}
"""Of each picture the path, what must be there, and its size in pixels."""

CALLERS = 6
AGENTS = ("pump", "valve", "boiler")


@contextmanager
def called(url: str) -> Generator[None]:
    """Callers of the demo, who mostly know what they want."""
    ending = Event()
    threads = [Thread(target=_call, args=(url, number, ending)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    yield
    ending.set()
    for thread in threads:
        thread.join()


def _call(url: str, number: int, ending: Event) -> None:
    draw = Random(number)
    with httpx.Client(base_url=f"{url}/api/v1", timeout=PATIENCE) as client:
        for agent in AGENTS:
            client.post("/coredinator/api/agents/start", json={"config_path": f"demo/{agent}.yaml"})
        while not ending.wait(draw.expovariate(10.0)):
            agent = draw.choice(AGENTS)
            path = draw.choices(
                (
                    f"/coredinator/api/agents/{agent}/status",
                    f"/coretelemetry/api/data/{agent}?metric=reward",
                    "/coredinator/api/agents/",
                    "/coretelemetry/api/data/nobody?metric=reward",
                    "/nowhere",
                ),
                (40, 40, 15, 3, 1),
            )[0]
            client.get(path)


@contextmanager
def browsing() -> Generator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, "--hide-scrollbars", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = Chrome(options, ChromeService(str(CHROMEDRIVER)))
        try:
            yield browser
        finally:
            browser.quit()


def take(browser: Chrome, url: str, name: str, seconds: float) -> Path:
    """One picture, `seconds` after what must be there has come."""
    path, there, (width, height) = PAGES[name]
    browser.execute_cdp_cmd(  # pyright: ignore[reportUnknownMemberType] -- any JSON
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(f"{url}{path}")
    WebDriverWait(browser, PATIENCE).until(lambda it: it.find_elements(By.CSS_SELECTOR, there), there)
    time.sleep(seconds)
    file = IMAGES / f"{name}.png"
    file.write_bytes(browser.get_screenshot_as_png())
    return file


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.screenshots", description="Make the pictures of docs/.")
    parser.add_argument("--seconds", type=float, default=75.0, help="of traffic on the live page")
    seconds = parser.parse_args().seconds
    IMAGES.mkdir(exist_ok=True)
    with running_demo() as demo, browsing() as browser:
        url = f"http://127.0.0.1:{demo.client.base_url.port}"
        with called(url):
            files = [take(browser, url, "docs", 1.0), take(browser, url, "dashboard", seconds)]
    for file in files:
        sys.stdout.write(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes\n")
    return int(any(file.stat().st_size > LARGEST for file in files))


if __name__ == "__main__":
    sys.exit(main())
