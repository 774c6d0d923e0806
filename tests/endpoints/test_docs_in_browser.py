"""The page in a real browser, in front of a real gateway and a real backend.

Debian's packages `chromium` and `chromium-driver`; skipped where they are missing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from coregateway.testing import ScriptedBackend, respond
from tests.conftest import StartGateway

CHROMIUM = Path("/usr/bin/chromium")
CHROMEDRIVER = Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",  # it refuses to run as root otherwise
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1200,1500",
)
PATIENCE = 20.0
"""Seconds for what the browser does in a fraction of one when it has a core for itself."""

pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM.exists() and CHROMEDRIVER.exists()),
        reason=f"needs {CHROMIUM} and {CHROMEDRIVER} (Debian packages chromium and chromium-driver)",
    ),
]


class Page:
    """`/docs` as its reader sees it. Every method blocks."""

    def __init__(self, browser: Chrome, origin: str) -> None:
        self.browser = browser
        self.origin = origin
        browser.get(f"{origin}/docs")
        self.one(".opblock-tag")

    def one(self, selector: str) -> WebElement:
        """The first element, once it is there."""
        wait = WebDriverWait(self.browser, PATIENCE)
        found = wait.until(lambda browser: browser.find_elements(By.CSS_SELECTOR, selector), f"no {selector}")
        return found[0]

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.browser.find_elements(By.CSS_SELECTOR, selector)]

    def open(self, tag: str, operation: str) -> "Operation":
        return Operation(self, f"#operations-{tag}-{operation}")

    def resources(self) -> list[str]:
        """The addresses of the page and of all that it has fetched."""
        script = "return performance.getEntries().filter(e => 'initiatorType' in e).map(e => e.name)"
        answer: Any = self.browser.execute_script(script)  # pyright: ignore[reportUnknownMemberType] # any JSON
        return answer

    def complaints(self) -> list[Any]:
        """What the browser's console has of warnings and errors since the last call, about this page.

        It may still ask for the icon of the one before, whose gateway is gone.
        """
        log: Any = self.browser.get_log("browser")  # pyright: ignore[reportUnknownMemberType] # any JSON
        return [
            entry
            for entry in log
            if not entry["message"].startswith("http://127.0.0.1:")
            or entry["message"].startswith(f"{self.origin}/")
        ]


class Operation:
    """An operation of the page, opened and ready to be tried."""

    def __init__(self, page: Page, selector: str) -> None:
        self.page = page
        self.selector = selector
        page.one(f"{selector} .opblock-summary-control").click()
        page.one(f"{selector} .try-out__btn").click()

    def fill(self, parameter: str, text: str) -> None:
        field = self.page.one(
            f'{self.selector} tr[data-param-name="{parameter}"] :is(input, textarea):not([disabled])'
        )
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)

    def execute(self) -> str:
        """Send it; what is shown of the answer: status, body and headers. Then ready for another try."""
        self.page.one(f"{self.selector} .execute").click()
        shown = self.page.one(f"{self.selector} .live-responses-table .response").text
        self.page.one(f"{self.selector} .btn-clear").click()
        return shown


@pytest.fixture(name="browser", scope="module")
def fixture_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options, ChromeService(str(CHROMEDRIVER)))
    yield browser
    browser.quit()


@pytest.fixture(name="page")
async def fixture_page(
    browser: Chrome, gateway: StartGateway, backend: ScriptedBackend
) -> AsyncIterator[Page]:
    """The page of a running gateway; afterwards, nothing was fetched elsewhere and nothing went wrong."""
    running = await gateway(backends={"coredinator": backend.url, "coretelemetry": backend.url})
    page = await asyncio.to_thread(Page, browser, running.url)
    yield page
    resources = await asyncio.to_thread(page.resources)
    assert f"{page.origin}/openapi.json" in resources
    assert [address for address in resources if not address.startswith(f"{page.origin}/")] == []
    assert await asyncio.to_thread(page.complaints) == []


async def test_the_page_shows_every_backend_as_a_tag_with_its_routes(page: Page) -> None:
    def read() -> tuple[str, list[str], list[str]]:
        tags = [tag.split("\n")[0] for tag in page.texts(".opblock-tag a")]
        return page.browser.title, tags, page.texts("[id^=operations-coretelemetry] .opblock-summary-method")

    title, tags, methods = await asyncio.to_thread(read)
    assert title == "CoreGateway"
    assert tags == ["coredinator", "coretelemetry", "gateway"]
    assert methods == ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


async def test_an_operation_tells_the_errors_of_the_gateway(page: Page) -> None:
    def read() -> list[str]:
        page.open("coredinator", "get_coredinator")
        return page.texts("#operations-coredinator-get_coredinator .responses-table .response")

    answers = await asyncio.to_thread(read)
    assert any(answer.startswith("502") and "connect_failed" in answer for answer in answers)
    assert any(answer.startswith("503") and "Retry-After" in answer for answer in answers)


async def test_a_tried_path_reaches_the_backend_as_typed(page: Page, backend: ScriptedBackend) -> None:
    backend.default(respond(200, b'["agent-1"]', headers=[("Content-Type", "application/json")]))
    targets = {
        "api/agents/": b"/api/agents/",
        "a%2Fb;c=1/:d@e,f": b"/a%2Fb;c=1/:d@e,f",
        "a b?c#d%": b"/a%20b%3Fc%23d%25",  # what cannot stand in a path
    }

    def attempt() -> list[str]:
        operation = page.open("coredinator", "get_coredinator")
        answers: list[str] = []
        for typed in targets:
            operation.fill("path", typed)
            answers.append(operation.execute())
        return answers

    for shown in await asyncio.to_thread(attempt):
        assert shown.startswith("200")
        assert '"agent-1"' in shown
        assert "x-request-id" in shown
    assert [request.target for request in backend.requests] == list(targets.values())


async def test_a_tried_body_and_query_reach_the_backend(page: Page, backend: ScriptedBackend) -> None:
    def attempt() -> str:
        operation = page.open("coredinator", "post_coredinator")
        operation.fill("path", "api/agents/start")
        operation.fill("query", '{"dry": "yes&no"}')
        return operation.execute()

    shown = await asyncio.to_thread(attempt)
    assert shown.startswith("200")
    request = await backend.wait_for_request()
    assert (request.method, request.target) == (b"POST", b"/api/agents/start?dry=yes%26no")
    assert request.header("content-type") == b"application/json"
    assert request.body == b"{}"


async def test_the_gateways_own_health_can_be_tried(page: Page) -> None:
    shown = await asyncio.to_thread(lambda: page.open("gateway", "health").execute())
    assert shown.startswith("200")
    assert '"coretelemetry": "healthy"' in shown
