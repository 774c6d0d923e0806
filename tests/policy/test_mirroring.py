import pytest

from coregateway.http1.request import RequestHead
from coregateway.policy.mirroring import MAX_BODY, Mirroring


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


def test_a_mirror_gets_no_credentials() -> None:
    lines = [b"Accept: */*", b"authorization: Bearer x", b"COOKIE: a=b", b"X-API-Key: k", b"Cookie-Policy: 1"]
    assert Mirroring(1.0, ["GET"], ["x-api-key"]).lines(lines) == [lines[0], lines[4]]
