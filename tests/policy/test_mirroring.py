import pytest

from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange
from coregateway.policy.fields import rules_of
from coregateway.policy.mirroring import MAX_BODY, CopyFields, Mirroring


def head(*fields: bytes, method: bytes = b"GET") -> RequestHead:
    return RequestHead(b"\r\n".join((method + b" /x HTTP/1.1", b"Host: gw.test", *fields)))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_the_share_of_requests_is_kept(share: float) -> None:
    mirroring = Mirroring(share, ["GET"])
    taken = sum(mirroring.takes(head()) for _ in range(1000))
    assert abs(taken / 1000 - share) < 0.005


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        (head(), True),
        (head(method=b"HEAD"), False),
        (head(method=b"POST"), True),
        (head(b"Content-Length: 5", method=b"POST"), True),
        (head(b"Content-Length: %d" % (MAX_BODY + 1), method=b"POST"), False),
        (head(b"Connection: Upgrade", b"Upgrade: websocket"), False),
    ],
)
def test_only_requests_that_can_be_repeated_whole_are_mirrored(asked: RequestHead, taken: bool) -> None:
    assert Mirroring(1.0, ["GET", "POST"]).takes(asked) is taken


def test_a_copy_has_no_credentials_and_is_marked() -> None:
    lines = [b"Accept: */*", b"authorization: Bearer x", b"COOKIE: a=b", b"X-API-Key: k", b"Cookie-Policy: 1"]
    rules = rules_of([CopyFields("X-API-Key")], "r")
    assert rules is not None
    assert rules.kept(lines) == [lines[0], lines[4]]
    assert rules.added(Exchange(0.0, "")) == b"X-Mirrored: 1\r\n"
