"""The key by which requests of one client, consumer, header or cookie go to one upstream."""

import pytest

from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange
from coregateway.proxy.hash_keys import HashKeys
from coregateway.upstream.balancer import key_of

HEAD = RequestHead(b"GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: blue\r\nCookie: a=1; sid=s-1\r\n\r\n")


@pytest.mark.parametrize(
    ("hash_on", "consumer", "text"),
    [
        pytest.param("client", "dashboard", b"192.0.2.1", id="client"),
        pytest.param("consumer", "dashboard", b"dashboard", id="consumer"),
        pytest.param("consumer", None, b"", id="nobody has authenticated"),
        pytest.param("header:x-tenant", None, b"blue", id="header"),
        pytest.param("header:X-Other", None, b"", id="no such header"),
        pytest.param("cookie:sid", None, b"s-1", id="cookie"),
        pytest.param("cookie:id", None, b"", id="no such cookie"),
    ],
)
def test_the_key_is_that_of_the_text_that_the_settings_name(
    hash_on: str, consumer: str | None, text: bytes
) -> None:
    exchange = Exchange(0.0, "192.0.2.1")
    exchange.consumer = consumer
    assert HashKeys(hash_on).key(HEAD, exchange) == (key_of(text) if text else 0)
