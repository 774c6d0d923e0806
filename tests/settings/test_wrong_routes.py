"""Routes that are wrong in every way: all of it at once, with line and suggestion, and exit status 2."""

from pathlib import Path

import pytest

from coregateway.__main__ import main

MISTAKES: tuple[tuple[str, str, str], ...] = (
    # what a route says, the key that is told, and how the words of the mistake begin
    (
        'path = "/n1"\nbackend = "coredinatr"',
        "backend",
        'a backend that is there, found "coredinatr"; did you mean',
    ),
    ('path = "/n2"\nbackend = { coredinator = 1, corelemetry = 1 }', "backend", "a backend that is there"),
    (
        'path = "/n3"\nbackend = "coredinator"\nmirror.backend = "none"',
        "mirror.backend",
        "a backend that is there",
    ),
    ('path = "/n4"\nbackend = "coredinator"\nmethod = ["GET"]', "method", "a known key, found"),
    ('path = "/n5"\nbackend = "coredinator"\ntimeouts.raed = 1.0', "timeouts.raed", "a known key, found"),
    (
        'path = "/n6"\nbackend = "coredinator"\nmethods = ["GTE"]',
        "methods",
        "a list of one or more distinct method",
    ),
    ('path = "/c1"\nbackend = "coredinator"\nredirect.to = "/x"', "redirect.to", "nothing beside backend"),
    ('path = "/c2"\nrespond.status = 200\nredirect.to = "/x"', "respond.status", "nothing beside redirect"),
    ('path = "/c3"\nredirect.to = "/x"\nrewrite = "/y"', "rewrite", "nothing beside redirect"),
    (
        'path = "/c4"\nbackend = "coredinator"\nstrip = "/c4"\nrewrite = "/y"',
        "rewrite",
        "nothing beside strip",
    ),
    (
        'path = "/c5"\nbackend = "coredinator"\nsticky = "client"',
        "sticky",
        "nothing without a share of two backends",
    ),
    ('path = "/c6"\nbackend = "coredinator"\nrewrite = "/y/*"', "rewrite", 'no "*", as the path has none'),
    (
        'path = "/c7"\nbackend = "coredinator"\nstrip = "/other"',
        "strip",
        "whole segments that the path begins with",
    ),
    (
        'path = "/c8"\nrespond = { status = 204, body = "x" }',
        "respond.body",
        "nothing, as such a status has no body",
    ),
    ('path = "/c9"', "backend", "a backend's name (or redirect.to, or respond.status)"),
    (
        'path = "/f1"\nbackend = "coredinator"\nrequest.set = { Transfer-Encoding = "x" }',
        "request.set",
        "a table of",
    ),
    (
        'path = "/f2"\nbackend = "coredinator"\nrequest.add = { Connection = "x" }',
        "request.add",
        "a table of",
    ),
    (
        'path = "/f3"\nbackend = "coredinator"\nrequest.remove = ["Host"]',
        "request.remove",
        "a list of distinct",
    ),
    (
        'path = "/f4"\nbackend = "coredinator"\nresponse.set = { content-length = "1" }',
        "response.set",
        "a table of",
    ),
    (
        'path = "/f5"\nbackend = "coredinator"\nresponse.remove = ["Keep-Alive"]',
        "response.remove",
        "a list of",
    ),
    (
        'path = "/f6"\nbackend = "coredinator"\nrequest.set = { X-A = "a\\r\\nB: c" }',
        "request.set",
        "a table of",
    ),
    (
        'path = "/f7"\nbackend = "coredinator"\nrequest.set = { X-A = "${clientt}" }',
        "request.set",
        "a table of",
    ),
    ('path = "/f8"\nbackend = "coredinator"\nheaders = { X-Forwarded-For = "*" }', "headers", "a table of"),
    ('path = "/r1/*"\nredirect.to = "//evil.example/*"', "redirect.to", "an absolute http(s) URL"),
    ('path = "/r2/*"\nredirect.to = "/\\\\evil.example"', "redirect.to", "an absolute http(s) URL"),
    ('path = "/r3/*"\nredirect.to = "https://new.example*"', "redirect.to", "an absolute http(s) URL"),
    ('path = "/r4/*"\nredirect.to = "/a\\tb"', "redirect.to", "an absolute http(s) URL"),
    ('path = "/r5/*"\nredirect.to = "https://a@evil.example/"', "redirect.to", "an absolute http(s) URL"),
    ('path = "/p1/../x"\nbackend = "coredinator"', "path", "a path such as"),
    ('path = "/health/x"\nbackend = "coredinator"', "path", "a path such as"),
    ('path = "/api/v1/coredinator/*"\nbackend = "coredinator"', "path", "other conditions than the backend"),
)


def test_all_that_is_wrong_is_told_at_once_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    expected: list[tuple[int, str, str]] = []
    for number, (text, key, words) in enumerate(MISTAKES):
        lines.append(f"[routes.r{number}]")
        rows = text.splitlines()
        at = next((place for place, row in enumerate(rows) if row.startswith(key.partition(".")[0])), -1)
        expected.append((len(lines) + at + 1, f"routes.r{number}.{key}", words))
        lines += rows
    file = tmp_path / "gateway.toml"
    file.write_text("\n".join(lines))
    with pytest.raises(SystemExit) as ended:
        main(["check", "--config", str(file)])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    for line, key, words in expected:
        # A key that is missing has the line of its table.
        [told] = [row for row in printed.err.splitlines() if f": {key}: expected " in row]
        assert told.strip().startswith(f"{file}:{line}: {key}: expected {words}"), told
    assert len(printed.err.splitlines()) == 1 + len(MISTAKES)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ('backend = "coredinatr"', "did you mean coredinator?"),
        ('backend = "coredinator"\nmethod = ["GET"]', "did you mean routes.r.methods?"),
        ('backend = "coredinator"\ntimeouts.raed = 1.0', "did you mean routes.r.timeouts.read?"),
        ('backend = "coredinator"\nmethods = ["GTE"]', "did you mean GET?"),
        ('redirct.to = "/x"', "did you mean routes.r.redirect?"),
        ('backend = "coredinator"\nmirror = { backend = "coretelemetri" }', "did you mean coretelemetry?"),
    ],
)
def test_what_may_have_been_meant_is_suggested(
    wrong: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f'[routes.r]\npath = "/x"\n{wrong}')
    with pytest.raises(SystemExit) as ended:
        main(["check", "--config", str(file)])
    assert ended.value.code == 2
    assert meant in capsys.readouterr().err
