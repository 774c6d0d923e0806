"""The live page in a real browser, in front of a real gateway.

Debian's packages `chromium` and `chromium-driver`; skipped where they are missing.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import coregateway.endpoints.dashboard
from coregateway.endpoints.dashboard.feed import CAUSES
from coregateway.endpoints.dashboard.routes import FILES, HEADERS
from coregateway.policy.keys import hash_of
from coregateway.testing import (
    Exchange,
    GatewayProcess,
    RawClient,
    ScriptedBackend,
    close,
    free_port,
    hang,
    render_head,
    respond,
)
from tests.endpoints.test_docs_in_browser import CHROMEDRIVER, CHROMIUM, FLAGS, PATIENCE

NOTHING = "\N{EN DASH}"
"""Where a table has nothing to say."""

pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM.exists() and CHROMEDRIVER.exists()),
        reason=f"needs {CHROMIUM} and {CHROMEDRIVER} (Debian packages chromium and chromium-driver)",
    ),
    pytest.mark.xdist_group("dashboard in browser"),
]

PACKAGE = Path(coregateway.endpoints.dashboard.__file__).parent

MANY = 1000

ATTACK = "/api/v1/coredinator/<img/src=x/onerror=alert(1)>/<script>alert(2)</script>"


class Page:
    """`/dashboard` as its reader sees it. Every method blocks."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url
        browser.get(url)
        self.until(lambda: self.text("#link-text") == "Live", "the stream to begin")

    def text(self, selector: str) -> str:
        return self.browser.find_element(By.CSS_SELECTOR, selector).text

    def run(self, script: str) -> Any:
        answer: Any = self.browser.execute_script(script)  # pyright: ignore[reportUnknownMemberType] # any JSON
        return answer

    def until(self, holds: Callable[[], object], what: str, within: float = PATIENCE) -> None:
        end = time.monotonic() + within
        while not holds():
            assert time.monotonic() < end, f"no {what} in {within} s: {self.text('body')[:2000]}"
            time.sleep(0.05)

    def says(self, words: str, within: float = PATIENCE) -> None:
        """Wait until the page has these words."""
        self.until(lambda: words in self.text("body"), words, within)

    def resources(self) -> list[str]:
        script = "return performance.getEntries().filter(e => 'initiatorType' in e).map(e => e.name)"
        return self.run(script)

    def complaints(self) -> list[Any]:
        """What the browser's console has of warnings and errors since the last call."""
        log: Any = self.browser.get_log("browser")  # pyright: ignore[reportUnknownMemberType] # any JSON
        return log


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


@pytest.fixture(autouse=True)
def leave(browser: Chrome) -> Iterator[None]:
    """No page of a test before goes on asking for its gateway."""
    yield
    browser.get("about:blank")
    browser.get_log("browser")  # pyright: ignore[reportUnknownMemberType] # any JSON


class Node:
    """A gateway with the page on a port that stays, in front of a backend that comes and goes."""

    def __init__(self) -> None:
        self.admin = free_port()
        self.backend_port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.admin}/dashboard"

    def start(self, toml: str = "") -> GatewayProcess:
        toml += f'[admin]\naddress = "127.0.0.1:{self.admin}"\n[shutdown]\ndelay = 0.1'
        return GatewayProcess(
            backends={"coredinator": f"http://127.0.0.1:{self.backend_port}"}, toml=toml, workers=2
        )

    def backend(self) -> ScriptedBackend:
        return ScriptedBackend(port=self.backend_port)


async def ask(gateway: GatewayProcess, path: str, times: int = 1) -> int:
    """The status of the last of so many requests, on connections of their own."""
    status = 0
    for _ in range(times):
        async with RawClient(gateway.address) as client:
            await client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            status = (await client.read_response()).status
    return status


def checked(page: Page) -> None:
    """Nothing was fetched elsewhere, and nothing went wrong."""
    origin = page.url.removesuffix("/dashboard")
    assert [address for address in page.resources() if not address.startswith(f"{origin}/")] == []
    assert page.complaints() == []


def checked_but_for_404(page: Page) -> None:
    """As `checked`: the browser complains of the answer to an id that is not known."""
    complaints = [each for each in page.complaints() if "404" not in each["message"]]
    assert complaints == []


def whole_text(page: Page, selector: str, width: int) -> str:
    """The text of an element in a window of this width; it must not be cut off."""
    page.browser.set_window_size(width, 900)  # pyright: ignore[reportUnknownMemberType] # its numbers
    look = f"const it = document.querySelector({selector!r});"
    assert page.run(
        f"{look} return it.scrollWidth <= it.clientWidth && it.scrollHeight <= it.clientHeight + 1"
    )
    return page.run(f"{look} return it.textContent")


async def test_it_shows_a_backend_that_goes_down_and_comes_back(browser: Chrome) -> None:
    node = Node()
    row = "#rows li:has(b):nth-child(1)"
    path = "/api/v1/coredinator/x"

    def how(page: Page, state: str) -> None:
        rows = {"up": 2, "down": 1}[state]  # the other backend is up all the time
        page.until(
            lambda: page.run(f"return document.querySelectorAll('#rows li.{state}').length") == rows, state
        )

    async with node.start() as gateway:
        page = await asyncio.to_thread(Page, browser, node.url)
        async with node.backend():
            assert await ask(gateway, path, 20) == 200
            await asyncio.to_thread(how, page, "up")
            await asyncio.to_thread(page.until, lambda: page.text("#rate") not in ("\u2013", "0"), "a rate")
        assert await ask(gateway, path, 4) == 502
        await asyncio.to_thread(how, page, "down")
        await asyncio.to_thread(page.says, "1 of 2 backends is down")
        await asyncio.to_thread(page.says, "no connection can be opened")
        await asyncio.to_thread(page.says, "no connection possible")
        for width in (400, 800, 1280):
            reason = await asyncio.to_thread(whole_text, page, "#rows li.down .who i", width)
            assert f"http://127.0.0.1:{node.backend_port}" in reason
        first = await asyncio.to_thread(lambda: page.text(row))
        assert first.startswith("coredinator")  # trouble comes first
        line = await gateway.wait_for_line(event="request", status=502)
        await asyncio.to_thread(page.says, line["request_id"])
        async with node.backend():
            assert await ask(gateway, path) == 200
            await asyncio.to_thread(how, page, "up")
        await asyncio.to_thread(checked, page)


async def test_it_shows_who_is_refused_and_what_is_nearest_to_its_limit(browser: Chrome) -> None:
    node = Node()
    toml = f"""
[auth.consumers.robot]
keys = ["{hash_of("cg_" + "k" * 43)}"]
[rates.seldom]
key = "client"
rate = "1/h"
burst = 2
[concurrency.few]
key = "client"
max = 2
[routes.keyed]
path = "/keyed"
backend = "coredinator"
auth.require = ["keys"]
[routes.held]
path = "/held"
backend = "coredinator"
concurrency = ["few"]
[routes.rated]
path = "/rated"
respond.status = 200
rates = ["seldom"]
"""

    def rows(page: Page, table: str) -> list[list[str]]:
        cells = "row => [...row.cells].map(cell => cell.textContent)"
        return page.run(f"return [...document.querySelectorAll('#{table} tr')].map({cells})")

    def seen(page: Page) -> None:
        page.until(lambda: rows(page, "callers"), "a caller that is refused")
        [[which, why, times]] = rows(page, "callers")
        assert (which, times) == ("keys", "3")
        assert why.startswith("no consumer has these keys")
        decided = [["seldom", "1/h", "2", "1"], ["few", "2 at a time", NOTHING, "0"]]
        page.until(lambda: rows(page, "rates") == decided, "what a rate has decided")
        page.until(lambda: len(rows(page, "nearest")) == 2, "the keys that are nearest to their limits")
        [*named, following], held = rows(page, "nearest")
        assert named == ["seldom", "127.0.0.1", "0 of 2"]
        assert following.startswith("in ")
        assert held == ["few", "127.0.0.1", "1 of 2", NOTHING]
        assert not page.run("return document.querySelector('#ended-section').checkVisibility()")
        checked(page)

    async with node.start(toml) as gateway:
        page = await asyncio.to_thread(Page, browser, node.url)
        assert await asyncio.to_thread(page.text, "#callers-none") == "No credentials were refused so far."
        for path, field, statuses in (
            ("/keyed", "X-API-Key: cg_" + "x" * 43, [401, 401, 401]),
            ("/rated", "Accept: */*", [200, 200, 429]),
        ):
            for status in statuses:
                async with RawClient(gateway.address) as client:
                    await client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n".encode())
                    assert (await client.read_response()).status == status
        async with node.backend() as backend, RawClient(gateway.address) as holder:
            backend.default(hang())
            await holder.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
            await backend.wait_for_request()
            await asyncio.to_thread(seen, page)


async def test_it_says_why_an_upstream_is_ejected_and_that_a_breaker_is_open(browser: Chrome) -> None:
    node = Node()
    async with (
        ScriptedBackend(close()) as bad,
        ScriptedBackend() as good,
        ScriptedBackend(respond(500)) as ill,
    ):
        toml = (
            f'[backends.two]\nprefix = "/two"\nurls = ["{bad.url}", "{good.url}"]\n'
            "ejection.failures = 1\nbreaker.enabled = true\n"
            f'[backends.ill]\nprefix = "/ill"\nurls = ["{ill.url}"]\n'
            "breaker.enabled = true\nbreaker.minimum = 1\nbreaker.open = 60.0\n"
        )
        async with node.start(toml) as gateway:
            page = await asyncio.to_thread(Page, browser, node.url)
            assert await ask(gateway, "/ill/x", 2) == 503
            while not bad.requests:
                await ask(gateway, "/two/x")
            await asyncio.to_thread(page.says, "its breaker is open: requests are refused at once")
            await asyncio.to_thread(page.says, "1 of 2 addresses ejected")
            rows = "[...document.querySelectorAll('#rows button')]"
            choose = f"{rows}.find(each => each.innerText.startsWith('two')).click()"
            await asyncio.to_thread(page.run, choose)
            await asyncio.to_thread(page.says, "/two, breaker closed")
            await asyncio.to_thread(page.says, "it closes connections without an answer (upstream_closed)")
            await asyncio.to_thread(page.says, "ejected once so far")
            await asyncio.to_thread(checked, page)


async def test_an_upstream_is_taken_out_and_had_back_by_its_button(browser: Chrome) -> None:
    node = Node()
    path = "/api/v1/coredinator/x"
    toml = "[backends.coretelemetry]\nenabled = false\n[dashboard]\non_main_port = true\n"
    gateway = node.start(toml)

    def press(page: Page, words: str, done: str) -> None:
        button = page.browser.find_element(By.CSS_SELECTOR, "#upstreams button")
        assert button.text == words
        button.click()
        if words == "Drain":
            page.browser.switch_to.alert.accept()  # for it is the last one
        page.until(lambda: button.text == done, done)

    def choose(page: Page) -> None:
        page.until(lambda: page.run("return document.querySelectorAll('#rows button').length") == 1, "a row")
        page.browser.find_element(By.CSS_SELECTOR, "#rows button").click()
        page.until(lambda: page.run("return document.querySelectorAll('#upstreams li').length") == 1, "it")

    async with gateway, node.backend():
        page = await asyncio.to_thread(Page, browser, node.url)
        await asyncio.to_thread(choose, page)
        await asyncio.to_thread(press, page, "Drain", "Undrain")
        await asyncio.to_thread(page.says, "taken out by an operator")
        assert await ask(gateway, path) == 503
        await asyncio.to_thread(press, page, "Undrain", "Drain")
        assert await ask(gateway, path) == 200
        await asyncio.to_thread(checked, page)
        page = await asyncio.to_thread(Page, browser, f"{gateway.url}/dashboard")
        await asyncio.to_thread(choose, page)
        assert not await asyncio.to_thread(
            lambda: page.browser.find_element(By.CSS_SELECTOR, "#upstreams button").is_displayed()
        )


async def test_it_tells_what_happened_before_it_was_opened(browser: Chrome) -> None:
    node = Node()
    path = "/api/v1/coredinator/x"

    def choose(page: Page, minute: str) -> None:
        """As one does who asks what happened at that time."""
        page.run(
            f"const at = document.querySelector('#at'); at.value = '{minute}'; "
            "at.dispatchEvent(new Event('change'))"
        )

    def use(page: Page) -> None:
        page.browser.find_element(By.CSS_SELECTOR, "#hour").click()
        page.until(lambda: page.text("#then") == "Choose a minute: what happened then?", "the hour")
        now = page.run("return new Date().toTimeString().slice(0, 5)")
        choose(page, now)
        page.until(lambda: page.text("#then").startswith(f"{now}: "), "the numbers of the minute")
        assert page.text("#causes-when") == f"at {now}"
        choose(page, "")
        page.until(lambda: page.text("#causes-when") == "in the last hour", "all of it")
        told = page.run("return fetch('/dashboard/history').then((it) => it.json())")
        assert sum(row[4] for row in told["minutes"]) >= 3
        example = page.browser.find_element(By.CSS_SELECTOR, "#causes button.id")
        name = example.text
        example.click()
        page.until(lambda: page.text("#request-title") == name, "the request")
        page.says("Policies")
        page.says("connect_failed")
        assert page.browser.current_url.endswith(f"#request={name}")
        page.browser.find_element(By.CSS_SELECTOR, "#close").click()
        page.until(lambda: "#" not in page.browser.current_url, "the dialog to close")
        search = page.browser.find_element(By.CSS_SELECTOR, "#id")
        search.send_keys("unheard-of", Keys.ENTER)
        page.says("No request with this id is kept")
        page.browser.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
        page.until(lambda: "#" not in page.browser.current_url, "the dialog to close again")
        checked_but_for_404(page)
        page.browser.get(f"{page.url}#request={name}")
        page.until(lambda: page.text("#request-title") == name, "the request by its link on the page")
        page.browser.refresh()
        page.until(lambda: page.text("#request-title") == name, "the request by its link")
        page.says("Policies")
        links = page.run("return [...document.querySelectorAll('#links a')].map((it) => it.href)")
        assert [link.rpartition("/")[2] for link in links] == ["docs", "status", "metrics"]

    async with node.start() as gateway:
        assert await ask(gateway, path, 3) == 502
        line = await gateway.wait_for_line(event="request", status=502)
        assert line["error"] == "connect_failed"
        page = await asyncio.to_thread(Page, browser, node.url)
        await asyncio.to_thread(page.says, "no connection possible")
        await asyncio.to_thread(use, page)


async def test_on_the_main_port_requests_are_not_told(browser: Chrome) -> None:
    node = Node()
    gateway = node.start("[dashboard]\non_main_port = true\n")
    async with gateway:
        assert await ask(gateway, "/api/v1/coredinator/x", 2) == 502
        page = await asyncio.to_thread(Page, browser, f"{gateway.url}/dashboard")
        await asyncio.to_thread(page.says, "Failures by cause")

        def look() -> tuple[bool, int, list[str]]:
            shown = page.browser.find_element(By.CSS_SELECTOR, "#find").is_displayed()
            buttons = page.run("return document.querySelectorAll('button.id').length")
            return (
                shown,
                buttons,
                page.run("return [...document.querySelectorAll('nav a')].map(e => e.pathname)"),
            )

        assert await asyncio.to_thread(look) == (False, 0, ["/docs"])
        assert await ask(gateway, "/requests/an-id") == 404
        await asyncio.to_thread(checked, page)


async def test_what_strangers_send_is_shown_as_text(browser: Chrome) -> None:
    node = Node()
    async with node.start() as gateway:
        page = await asyncio.to_thread(Page, browser, node.url)
        assert await ask(gateway, ATTACK) in (400, 502)
        await asyncio.to_thread(page.says, ATTACK)

        def look() -> tuple[str, Any]:
            return page.browser.title, page.run(
                "return document.querySelectorAll('main img, main script').length"
            )

        assert await asyncio.to_thread(look) == ("CoreGateway", 0)
        await asyncio.to_thread(checked, page)


async def test_it_says_when_the_gateway_is_gone_and_comes_back_by_itself(browser: Chrome) -> None:
    node = Node()
    async with node.start() as gateway:
        page = await asyncio.to_thread(Page, browser, node.url)
        assert await gateway.stop() == 0
        await asyncio.to_thread(page.says, "What you see is old; trying again.")
        assert await asyncio.to_thread(page.text, "#link-text") == "Not connected"
    async with node.start():
        await asyncio.to_thread(page.until, lambda: page.text("#link-text") == "Live", "a new stream")
        assert await asyncio.to_thread(page.text, "#gone") == ""


async def test_a_backend_is_looked_at_by_keyboard(browser: Chrome) -> None:
    node = Node()
    async with node.start():
        page = await asyncio.to_thread(Page, browser, node.url)

        def use() -> list[str]:
            seen = [page.text("#verdict")]
            body = page.browser.find_element(By.TAG_NAME, "body")
            body.send_keys(Keys.TAB)
            for _ in range(20):
                if page.run("return document.activeElement.className") == "row":
                    break
                page.browser.switch_to.active_element.send_keys(Keys.TAB)
            page.browser.switch_to.active_element.send_keys(Keys.ENTER)
            seen.append(page.text("#verdict"))
            page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
            seen.append(page.text("#verdict"))
            return seen

        assert await asyncio.to_thread(use) == ["All is well", "coredinator", "All is well"]


def many_causes() -> list[dict[str, Any]]:
    """As many groups of failures as a feed sends."""
    names = ("backend", "route", "upstream")
    group = {"error": "connect_failed", "status": 502, "count": 1000, "first": 1.7e9, "last": 1.7e9}
    return [
        group | dict.fromkeys(names, f"service-{number:03}") | {"example": f"id-{number}"}
        for number in range(CAUSES)
    ]


def made_up(second: int) -> bytes:
    """The events that a feed of `MANY` busy backends would send."""
    rows: dict[str, Any] = {}
    for number in range(MANY):
        state = "down" if number % 100 == 7 else "up"
        upstream = [
            f"http://10.0.0.1:{number}",
            state,
            "no connection can be opened (connect_failed) since 2026",
            1.7e9,
            1,
            0,
        ]
        rate = (number + second) % 50 + 1
        figures = [rate, 0, 0.001, 0.01, 0.1, rate, 1, 0, 1, 2, 0, "off"]
        rows[f"service-{number:03}"] = [*figures, [upstream]] if second == 0 else figures
    data: dict[str, Any] = {
        "time": time.time(),
        "all": [50.0 * MANY, 0.0, 0.001, 0.01, 0.1, 50.0 * MANY],
        "backends": rows,
    }
    if second == 0:
        prefixes = {name: f"/api/{name}" for name in rows}
        data |= {"version": "1", "ready": True, "started": time.time(), "measured": True, "limit": 50}
        data |= {"workers": [], "prefixes": prefixes, "failed": [], "slow": [], "said": []}
        data |= {"settings": {"version": 1, "hash": "0"}, "plugins": [], "causes": many_causes()}
        fits_not = {"operation": "POST /x", "in": "body", "at": "/a", "count": 1234, "last": 1.7e9}
        data["validation"] = {
            "modes": {"service-001": "report"},
            "mismatches": [{"backend": "service-001"} | fits_not],
        }
        data |= {"links": {"docs": {"port": 8001, "tls": False}}}
        data |= {"route_count": 500}
        data["routes"] = [
            [f"r-{each}", f"/r-{each}/*", "308 https://a/*", 25 - each, 0] for each in range(25)
        ]
    name = b"change" if second else b"whole"
    return b"event: %b\ndata: %b\n\n" % (name, orjson.dumps(data))


async def test_a_thousand_busy_backends_stay_responsive(browser: Chrome) -> None:
    async def feed(exchange: Exchange) -> None:
        await exchange.send(render_head(200, [("Content-Type", "text/event-stream")]))
        for second in range(10_000):
            await exchange.send(made_up(second))
            await asyncio.sleep(0.5)

    def use(page: Page) -> None:
        page.says("10 of 1,000 backends are down")
        page.until(lambda: page.text("#routes-title") == "Routes the 25 busiest of 500", "the routes")
        assert page.text("#routes tr td:nth-child(3)") == "308 https://a/*"
        names = "return [...document.querySelectorAll('#rows li b:first-of-type')].map(e => e.textContent)"
        rows = "return document.querySelectorAll('#rows li').length"
        assert page.text("#rows .who b") == "service-007"
        assert page.run(rows) < 40
        page.run(
            "window.long = []; new PerformanceObserver("
            "l => window.long.push(...l.getEntries().map(e => e.duration))).observe({type: 'longtask'})"
        )
        for _ in range(10):
            page.run("document.querySelector('#scroller').scrollTop += 12000")
            time.sleep(0.1)
        page.until(lambda: "service-999" in page.run(names), "the last row")
        assert page.run(rows) < 40
        search = page.browser.find_element(By.CSS_SELECTOR, "#search")
        search.send_keys("service-123")
        page.until(lambda: page.run(rows) == 1, "the one that was asked for")
        search.clear()
        search.send_keys(Keys.SPACE)
        page.browser.find_element(By.CSS_SELECTOR, "#trouble").click()
        page.until(lambda: page.run(rows) == 10, "those in trouble alone")
        causes = "return document.querySelectorAll('#causes tr').length"
        assert page.run(causes) == 8
        assert page.text("#causes-more") == f"Show all {CAUSES}"
        page.browser.find_element(By.CSS_SELECTOR, "#causes-more").click()
        page.until(lambda: page.run(causes) == CAUSES, "all causes")
        page.until(lambda: page.text("#out-count") == "10", "the upstreams that are down")
        assert page.text("#validated") == "They are reported at service-001."
        assert page.text("#mismatches").startswith("service-001 POST /x body /a 1,234 ")
        # A page that were slow would be so at every change, twice a second; once is the machine's doing.
        assert len([task for task in page.run("return window.long") if task > 500]) <= 1  # milliseconds
        checked(page)

    async with ScriptedBackend() as server:
        for path, (name, media_type) in FILES.items():
            body = (PACKAGE / name).read_bytes()
            server.on(
                f"/dashboard{path}", respond(200, body, [*HEADERS.items(), ("Content-Type", media_type)])
            )
        server.on("/dashboard/events", feed)
        page = await asyncio.to_thread(Page, browser, f"{server.url}/dashboard")
        await asyncio.to_thread(use, page)
