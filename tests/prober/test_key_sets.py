"""Sets of keys are fetched over TLS that is verified, in bounded sizes, and nothing private is kept."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from coregateway.net.tls_contexts import client_tls
from coregateway.prober.key_sets import LARGEST, KeySource, NotFetched, fetched, key_rows
from coregateway.testing import ScriptedBackend, respond
from coregateway.testing.tls_front import TlsFront
from tests import certificates

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = b'{"keys": [{"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"}]}'


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="front")
async def fixture_front() -> AsyncIterator[TlsFront]:
    async with AsyncExitStack() as running:
        backend = await running.enter_async_context(ScriptedBackend())
        backend.on("/keys", respond(body=KEYS))
        backend.on("/moved", respond(302, b"", [("Location", "/keys")]))
        backend.on("/large", respond(body=bytes(LARGEST + 1)))
        context = certificates.serving(certificates.issued("localhost"))
        yield await running.enter_async_context(TlsFront(backend.address, context))


def source(
    front: TlsFront, path: str, *, ca: str = "", server_name: str = "", verify: bool = True
) -> KeySource:
    tls = client_tls(ca, "", "", server_name, verify)
    return KeySource("corp", f"https://localhost:{front.port}{path}", 1.0, 1.0, "f", "x", tls)


async def test_an_authority_of_ones_own_is_trusted_where_the_settings_name_it(front: TlsFront) -> None:
    assert await fetched(source(front, "/keys", ca=certificates.ca_file())) == KEYS
    assert await fetched(source(front, "/keys", verify=False)) == KEYS


@pytest.mark.parametrize("ca", ["", "other"])
async def test_no_other_is(front: TlsFront, ca: str) -> None:
    with pytest.raises(NotFetched, match="certificate"):
        await fetched(source(front, "/keys", ca=certificates.other_ca_file() if ca else ""))


async def test_neither_redirects_are_followed_nor_large_sets_read(front: TlsFront) -> None:
    with pytest.raises(NotFetched, match="status 302"):
        await fetched(source(front, "/moved", ca=certificates.ca_file()))
    with pytest.raises(NotFetched, match=f"more than {LARGEST} bytes"):
        await fetched(source(front, "/large", ca=certificates.ca_file()))


async def test_a_file_that_is_gone_by_now_is_told(front: TlsFront) -> None:
    with pytest.raises(NotFetched, match="look at the files of its tls"):
        await fetched(source(front, "/keys", ca="/no/such/file.pem"))


async def test_what_is_private_or_secret_is_not_kept() -> None:
    rows = [
        {"kty": "RSA", "kid": "a", "n": "x", "e": "y", "d": "private", "p": "private"},
        {"kty": "oct", "kid": "b", "k": "secret"},
        "no row",
    ]
    assert key_rows(json.dumps({"keys": rows}).encode()) == [{"kty": "RSA", "kid": "a", "n": "x", "e": "y"}]
    for text in (b"", b"{}", b"[]", b'{"keys": []}', b'{"keys": 1}'):
        with pytest.raises(ValueError, match="what comes is no"):
            key_rows(text)
