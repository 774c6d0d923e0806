import pytest

from coregateway.settings.redirect_target import is_safe_target


@pytest.mark.parametrize(
    "target",
    [
        "https://new.example/*",
        "http://new.example:8080/a/*",
        "https://new.example",
        "https://new.example/a?b=c#d",
        "https://[2001:db8::1]/*",
        "/",
        "/*",
        "/docs",
        "/a/b/*",
    ],
)
def test_a_target_names_its_host_or_stays_here(target: str) -> None:
    assert is_safe_target(target)


@pytest.mark.parametrize(
    "target",
    [
        *("", "docs", "*", "//evil.example", "//*", "///x", "/\\evil.example", "\\\\evil.example"),
        *("https://new.example*", "https://*.new.example/", "https://*", "https:///x", "https:x", "https://"),
        *("https://user@new.example/", "https://new.example@evil.example/*", "https://new.example:x/"),
        *("https://new.example:/", "https://new.example:0/", "https://new.example:99999/", "ftp://a/"),
        *(
            "javascript:alert(1)",
            "HTTPS://new.example/",
            "https://new example/",
            "https://new.example/\r\nX: 1",
        ),
        *(
            "/a*",
            "/*/b",
            "/a/*?b",
            "/a?b=/*",
            "/a#/*",
            "/*/*",
            "https://new.example/\0",
            "https://ex\xe4mple/",
        ),
        "https://-evil/",
    ],
)
def test_a_target_that_could_become_another_host_is_a_mistake(target: str) -> None:
    assert not is_safe_target(target)
