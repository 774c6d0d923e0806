"""The example of a service that is asked, of the page of authentication, does what the page says."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from coregateway.testing import Exchange, ScriptedBackend, respond
from tests.documents import PAGES
from tests.markdown import blocks
from tests.stage import PREFIX, Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHERE = "http://oauth2-proxy.internal:4180"
[EXAMPLE] = [block.text for block in blocks(PAGES["auth"]) if WHERE in block.text]

SESSIONS = {b"_oauth2_proxy=alice": ("alice", "operator,dev"), b"_oauth2_proxy=bob": ("bob", "dev")}


async def judge(exchange: Exchange) -> None:
    """As oauth2-proxy at `/oauth2/auth`."""
    session = SESSIONS.get(exchange.request.header("cookie") or b"")
    if session is None:
        await exchange.play(respond(401, b"Unauthorized\n"))
        return
    user, groups = session
    fields = [("X-Auth-Request-User", user), ("X-Auth-Request-Groups", groups)]
    await exchange.play(respond(202, b"", [*fields, ("X-Auth-Request-Email", f"{user}@example.test")]))


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        proxy = await running.enter_async_context(ScriptedBackend())
        proxy.on("/oauth2/auth", judge)
        proxy.on("/oauth2/sign_in", respond(200, b"who are you?"))
        toml = EXAMPLE.replace(WHERE, proxy.url).replace("timeout = 0.5", "timeout = 30.0")
        yield await running.enter_async_context(Stage(toml=toml))


async def test_who_has_no_session_gets_what_the_service_says(stage: Stage) -> None:
    answer = await stage.ask("/no-session", "X-Auth-Request-User: eve")
    assert (answer.status, answer.body) == (401, b"Unauthorized\n")
    assert stage.seen("/no-session") == []
    assert (await stage.ask_gateway("/oauth2/sign_in")).body == b"who are you?"


async def test_who_has_one_is_named_to_the_backend_and_may_do_what_its_groups_may(stage: Stage) -> None:
    for user, status in (("alice", 200), ("bob", 403)):
        path = stage.path()
        cookie = f"Cookie: _oauth2_proxy={user}"
        assert (await stage.ask(path, cookie, "X-Auth-Request-User: eve")).status == 200
        seen = await stage.wait_seen(path)
        assert seen.values("x-auth-request-user") == [user.encode()]
        assert seen.values("x-auth-request-email") == [f"{user}@example.test".encode()]
        assert seen.values("x-consumer") == [user.encode()]
        assert (await stage.ask_gateway(f"{PREFIX}/api/agents/{path[1:]}", cookie)).status == status
