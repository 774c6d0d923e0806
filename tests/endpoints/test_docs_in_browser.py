"""The page in a real browser, in front of a real gateway and real backends.

Debian's packages `chromium` and `chromium-driver`; skipped where they are missing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import pytest_asyncio
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from coregateway.testing import GatewayProcess, ScriptedBackend, respond
from tests.endpoints.described import described
from tests.openapi.merging import answering, api, ref

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
    pytest.mark.asyncio(loop_scope="module"),
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
        self.show("/docs", ".group")

    def show(self, path: str, awaited: str) -> None:
        self.browser.get("about:blank")
        self.browser.get(f"{self.origin}{path}")
        self.one(awaited)

    def one(self, selector: str) -> WebElement:
        """The first element, once it is there."""
        wait = WebDriverWait(self.browser, PATIENCE)
        found = wait.until(lambda browser: browser.find_elements(By.CSS_SELECTOR, selector), f"no {selector}")
        return found[0]

    def says(self, selector: str, *words: str) -> None:
        """Wait until one of these elements begins with the first of the words, and has the others."""
        first, *others = words

        def is_there(_: Chrome) -> bool:
            texts = self.texts(selector)
            return any(text.startswith(first) and all(word in text for word in others) for text in texts)

        WebDriverWait(self.browser, PATIENCE).until(is_there, f"no {selector} says {words}")

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.browser.find_elements(By.CSS_SELECTOR, selector)]

    def search(self, words: str, told: str) -> None:
        """Type into the search, and wait for what is told of it."""
        field = self.one("#search")
        type_into(field, words or Keys.BACKSPACE)
        self.one(f'[data-sought="{words}"]')
        assert self.one("#told").text == told

    def open_group(self, name: str) -> None:
        self.one(f'[data-backend="{name}"] > summary').click()
        self.one(f'[data-backend="{name}"] .row')

    def open(self, group: str, operation: str) -> "Operation":
        self.show("/docs", ".group")
        self.open_group(group)
        return Operation(self, f'[data-operation="{operation}"]')

    def resources(self) -> list[str]:
        """The addresses of the page and of all that it has fetched."""
        script = "return performance.getEntries().filter(e => 'initiatorType' in e).map(e => e.name)"
        return self.run(script)

    def run(self, script: str) -> Any:
        return self.browser.execute_script(script)  # pyright: ignore[reportUnknownMemberType] # any JSON

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
        page.one(f"{selector} > summary").click()
        page.one(f"{selector} .execute")

    def fill(self, parameter: str, text: str) -> None:
        field = self.page.one(
            f'{self.selector} tr[data-param-name="{parameter}"] :is(input, textarea):not([disabled])'
        )
        type_into(field, text)

    def fill_body(self, text: str) -> None:
        type_into(self.page.one(f"{self.selector} .body-param textarea"), text)

    def attach(self, file: Path) -> None:
        self.page.one(f'{self.selector} input[type="file"]').send_keys(str(file))

    def show_key(self, scheme: str, key: str) -> None:
        type_into(self.page.one(f'{self.selector} [data-scheme="{scheme}"]'), key)

    def execute(self) -> str:
        """Send it; what is shown of the answer: status, body and headers. Then ready for another try."""
        self.page.one(f"{self.selector} .execute").click()
        shown = self.page.one(f"{self.selector} .live-responses-table .response").text
        self.page.one(f"{self.selector} .btn-clear").click()
        return shown


def type_into(field: WebElement, text: str) -> None:
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text)


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


def many(operations: int) -> bytes:
    """A large document, whose schemas refer to one another."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for number in range(operations):
        name = f"Model{number // 4}"
        properties = {"a": {"type": "string"}, "b": ref("schemas", f"Model{number // 8}")}
        schemas[name] = {"type": "object", "properties": properties}
        paths[f"/things{number}/{{id}}"] = {
            "post": answering(ref("schemas", name), tags=[f"part {number // 100}"], summary=f"Thing {number}")
        }
    return orjson.dumps(api(paths, components={"schemas": schemas}))


OLD = {
    "swagger": "2.0",
    "info": {"title": "Old pets", "version": "1"},
    "basePath": "/old",
    "paths": {"/pets": {"get": {"summary": "Pets of old", "responses": {"200": {"description": "Fine."}}}}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="plain")
async def fixture_plain() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="running")
async def fixture_running(plain: ScriptedBackend) -> AsyncIterator[GatewayProcess]:
    async with ScriptedBackend(respond(200, many(500))) as large, ScriptedBackend() as old:
        old.default(respond(200, orjson.dumps(OLD)))
        more = "".join(
            f'[backends.{name}]\nprefix = "/{name}"\nurls = ["{url}"]\nopenapi.refresh = 600.0\n'
            for name, url in (("large", large.url), ("old", old.url))
        )
        async with described(plain.url, more) as gateway:
            for name in ("large", "old"):
                await gateway.wait_for_line(event="document.fetched", backend=name)
            yield gateway


@pytest_asyncio.fixture(loop_scope="module", name="page")
async def fixture_page(browser: Chrome, running: GatewayProcess) -> AsyncIterator[Page]:
    """The page of a running gateway; afterwards, nothing was fetched elsewhere and nothing went wrong."""
    page = await asyncio.to_thread(Page, browser, running.url)
    yield page
    resources = await asyncio.to_thread(page.resources)
    assert [address for address in resources if not address.startswith(f"{page.origin}/")] == []
    assert await asyncio.to_thread(page.complaints) == []


async def test_every_backend_is_there_with_its_state(page: Page) -> None:
    def read() -> tuple[str, list[str], list[str]]:
        heads = [" ".join(text.split()) for text in page.texts(".group > summary")]
        page.open_group("coretelemetry")
        return page.browser.title, heads, page.texts('[data-backend="coretelemetry"] .method')

    title, heads, methods = await asyncio.to_thread(read)
    assert title == "CoreGateway"
    assert heads == [
        "coredinator up to date 5 operations",
        "coretelemetry up to date 3 operations",
        "large up to date 500 operations",
        "plain no document 7 operations",
        "old up to date 7 operations",
        "gateway 7 operations",
    ]
    assert methods == ["GET", "GET", "POST"]


async def test_operations_are_found_by_path_summary_and_id(page: Page) -> None:
    def read() -> list[list[str]]:
        found: list[list[str]] = []
        for words, told in (
            ("series A", "2 of 529 operations"),
            ("coredinator_secret", "1 of 529 operations"),
            ("one of the items", "1 of 529 operations"),
            ("DELETE coredinator", "1 of 529 operations"),
            ("thing", "The first 200 of 500 operations"),
            ("nowhere at all", "0 of 529 operations"),
        ):
            page.search(words, told)
            found.append(page.texts(".row .path"))
        page.search("", "529 operations of 6 groups")
        return found

    found = await asyncio.to_thread(read)
    series = "/api/v1/coretelemetry/v2/series/{name}"
    assert found[:4] == [
        [series, series],
        ["/api/v1/coredinator/secret"],
        ["/api/v1/coredinator/items/{number}"],
        ["/api/v1/coredinator/secret"],
    ]
    assert list(map(len, found[4:])) == [200, 0]


async def test_a_large_backend_is_made_when_it_is_opened_and_each_operation_alone(page: Page) -> None:
    """Swagger UI takes seconds for each operation of a large document, and next to none for one alone."""

    def read() -> list[int]:
        counts = [len(page.texts(".row"))]
        page.open_group("large")
        counts.append(len(page.browser.find_elements(By.CSS_SELECTOR, ".row")))
        Operation(page, '[data-operation="large_post_things499_id"]')
        counts.append(len(page.browser.find_elements(By.CSS_SELECTOR, ".swagger-ui .opblock")))
        return counts

    assert await asyncio.to_thread(read) == [0, 500, 1]


async def test_an_operation_tells_the_errors_of_the_gateway(page: Page) -> None:
    answers = '[data-operation="get_plain"] .responses-table .response'
    await asyncio.to_thread(page.open, "plain", "get_plain")
    await asyncio.to_thread(page.says, answers, "502", "connect_failed")
    await asyncio.to_thread(page.says, answers, "503", "Retry-After")


async def test_a_tried_path_reaches_the_backend_as_typed(page: Page, plain: ScriptedBackend) -> None:
    plain.default(respond(200, b'["agent-1"]', headers=[("Content-Type", "application/json")]))
    targets = {
        "api/agents/": b"/api/agents/",
        "a%2Fb;c=1/:d@e,f": b"/a%2Fb;c=1/:d@e,f",
        "a b#d%": b"/a%20b%23d%25",  # what cannot stand in a path
        "a?b=c&d": b"/a?b=c&d",
    }

    def attempt() -> list[str]:
        operation = page.open("plain", "get_plain")
        answers: list[str] = []
        for typed in targets:
            operation.fill("path", typed)
            answers.append(operation.execute())
        return answers

    seen = len(plain.requests)
    for shown in await asyncio.to_thread(attempt):
        assert shown.startswith("200")
        assert '"agent-1"' in shown
        assert "x-request-id" in shown
    assert [request.target for request in plain.requests[seen:]] == list(targets.values())


async def test_a_tried_body_and_query_reach_the_backend(page: Page, plain: ScriptedBackend) -> None:
    def attempt() -> str:
        operation = page.open("plain", "post_plain")
        operation.fill("path", "api/agents/start")
        operation.fill("query", '{"dry": "yes&no"}')
        return operation.execute()

    shown = await asyncio.to_thread(attempt)
    assert shown.startswith("200")
    request = plain.requests[-1]
    assert (request.method, request.target) == (b"POST", b"/api/agents/start?dry=yes%26no")
    assert request.header("content-type") == b"application/json"
    assert request.body == b"{}"


async def test_queries_bodies_files_and_keys_reach_real_operations(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "seven.bin"
    file.write_bytes(b"7 bytes")

    def attempt() -> list[str]:
        answers: list[str] = []
        operation = page.open("coredinator", "coredinator_list")
        operation.fill("number", "7")
        operation.fill("name", "a&b/c?")
        answers.append(operation.execute())
        operation = page.open("coredinator", "coredinator_pets")
        operation.fill_body('{"pets": [{"kind": "dog", "toys": ["ball"]}]}')
        answers.append(operation.execute())
        operation = page.open("coredinator", "coredinator_upload")
        operation.fill("name", "a b")
        operation.attach(file)
        answers.append(operation.execute())
        operation = page.open("coredinator", "coredinator_secret")
        operation.show_key("coredinator.APIKeyHeader", "open sesame")
        answers.append(operation.execute())
        return answers

    listed, pets, upload, secret = await asyncio.to_thread(attempt)
    assert all(shown.startswith("200") for shown in (listed, pets, upload, secret))
    assert '"number": 7' in listed
    assert '"name": "a&b/c?"' in listed
    assert '"ball"' in pets
    assert '"size": 7' in upload
    assert '"name": "a b"' in upload
    assert '"key": "open sesame"' in secret


async def test_the_gateways_own_operations_can_be_tried(page: Page) -> None:
    shown = await asyncio.to_thread(lambda: page.open("gateway", "livez").execute())
    assert shown.startswith("200")
    assert '"status": "alive"' in shown


async def test_an_operation_has_an_address(page: Page) -> None:
    def read() -> str:
        page.show("/docs#/coretelemetry_add", '[data-operation="coretelemetry_add"] .execute')
        page.open("coretelemetry", "coretelemetry_list")
        return page.browser.current_url

    assert (await asyncio.to_thread(read)).endswith("/docs#/coretelemetry_list")


async def test_swagger_2_has_a_page_of_its_own(page: Page) -> None:
    def read() -> str:
        page.open_group("old")
        page.one('[data-backend="old"] .about a').click()
        page.one(".opblock")
        return page.one("body").text

    shown = await asyncio.to_thread(read)
    assert "Pets of old" in shown
    assert "/pets" in shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
async def test_it_reads_well_in_every_light_and_width(page: Page, scheme: str, width: int) -> None:
    """Nothing is wider than the window, and every text stands out from its ground."""

    def read() -> tuple[int, list[str], str]:
        device = {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": width < 600}
        emulated = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        command = cast(Any, page.browser).execute_cdp_cmd
        command("Emulation.setDeviceMetricsOverride", device)
        command("Emulation.setEmulatedMedia", emulated)
        try:
            page.open("coredinator", "coredinator_pets").execute()
            for name in ("plain", "gateway"):
                page.open_group(name)
            return (
                page.run("return document.documentElement.scrollWidth"),
                page.run(FAINT),
                page.one("body").text,
            )
        finally:
            command("Emulation.clearDeviceMetricsOverride", {})
            command("Emulation.setEmulatedMedia", {"features": []})

    wide, faint, text = await asyncio.to_thread(read)
    assert wide <= width
    assert faint == []
    assert [each for each in ("`", "OrderedMap", "%3F", "[object") if each in text] == []


FAINT = """
const lit = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((each) => {
    const part = each / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (!/, 0\\)$|transparent/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
};
const faint = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  const words = walker.currentNode.textContent.trim().slice(0, 40);
  if (!words || !node.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
  const [one, other] = [lit(getComputedStyle(node).color), lit(ground(node))].sort((a, b) => b - a);
  const contrast = (one + 0.05) / (other + 0.05);
  if (contrast < 3) faint.add(`${contrast.toFixed(1)} ${node.tagName} ${node.className}: ${words}`);
}
return [...faint];
"""
"""Texts whose contrast with their ground (WCAG 2.2, 1.4.3) is below 3."""
