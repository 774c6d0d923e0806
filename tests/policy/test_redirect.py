import re
from random import Random
from urllib.parse import urljoin, urlsplit

import pytest

from coregateway.policy.redirect import Redirect


@pytest.mark.parametrize(
    ("target", "path", "asked", "location"),
    [
        (
            "https://new.example/*",
            "/old/*",
            b"/old/a%2Fb//c?d=1&d=2",
            b"https://new.example/a%2Fb//c?d=1&d=2",
        ),
        ("https://new.example/*", "/old/*", b"/old", b"https://new.example/"),
        ("https://new.example/*", "/old/*", b"/old?a", b"https://new.example/?a"),
        ("https://new.example/*", "/old/*", b"/old/", b"https://new.example/"),
        ("https://new.example/*", "/old/*", b"/old//evil.example", b"https://new.example//evil.example"),
        ("https://new.example/v2/*", "/old/*", b"/old/a", b"https://new.example/v2/a"),
        ("https://new.example/v2", "/old/*", b"/old/a?b", b"https://new.example/v2"),
        ("/new/*", "/old/*", b"/old//evil.example", b"/new//evil.example"),
        ("/*", "/old/*", b"/old/a?b", b"/a?b"),
        ("/*", "/old/*", b"/old//evil.example", b"/evil.example"),
        ("/*", "/old/*", b"/old/////evil.example?x=//y", b"/evil.example?x=//y"),
        ("/*", "/*", b"//evil.example", b"/evil.example"),
        ("/new/*", "/old", b"/old?a", b"/new/?a"),
    ],
)
def test_the_rest_of_the_path_is_carried_byte_for_byte(
    target: str, path: str, asked: bytes, location: bytes
) -> None:
    redirect = Redirect(target, 308, matched=len(path.removesuffix("/*")))
    assert redirect.location(asked) == location


def test_no_path_leads_to_another_host() -> None:
    random = Random(3)
    pieces = [b"/", b"//", b"\\", b"evil.example", b"@", b":", b"%2f", b"?", b"#"[:0], b".", b"http:", b"*"]
    for target in ("/*", "/new/*", "https://new.example/*"):
        redirect = Redirect(target, 302, matched=len("/old"))
        for _ in range(3000):
            rest = b"".join(random.choice(pieces) for _ in range(random.randint(0, 6)))
            location = redirect.location(b"/old/" + rest).decode().replace("\\", "/")
            assert re.match(r"/(?!/)|https://new\.example/", location), location
            joined = urlsplit(urljoin("https://gw.example/old/", location))
            assert joined.netloc in ("gw.example", "new.example")
