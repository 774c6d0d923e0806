"""What is said of wrong settings: all at once, where, what was meant, and nothing that must stay secret."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from coregateway.settings import Flag, SettingsError, load
from coregateway.settings.mistakes import MAX_SHOWN, shown

NO_OTHER_PORT = "expected another port than 9001, which is the gateway's own"


def write(directory: Path, text: str, name: str = "coregateway.toml") -> Path:
    file = directory / name
    file.write_text(text)
    return file


def report(directory: Path, environ: Mapping[str, str] | None = None, *flags: Flag) -> list[str]:
    """The lines of the mistakes."""
    with pytest.raises(SettingsError) as caught:
        load(flags, environ or {}, directory)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("coregateway: ")
    return [line.strip() for line in lines[1:]]


def test_every_mistake_of_every_source_is_told_at_once(tmp_path: Path):
    write(
        tmp_path,
        'port = "80"\nprot = 1\n[timeouts]\nread = -1\n[backends.billing]\nprefix = "/api/v1/coredinator"\n'
        'urls = ["http://a", "ftp://b"]\n[backends.empty]\n',
    )
    environ = {
        "COREGATEWAY_WORKERS": "four",
        "COREGATEWAY_PROT": "1",
        "COREGATEWAY_CORS__CREDENTIALS": "true",
        "HOME": "/",
        "COREGATEWAYS": "not ours",
    }
    found = report(tmp_path, environ, Flag("--port", "99999"), Flag("--coredinator-port", "0"))
    starts = [
        "coregateway.toml:2: prot: expected a known key, found an unknown one; did you mean port?",
        'coregateway.toml:1: port: expected a port from 0 to 65535 (0: any free one), found "80"',
        "coregateway.toml:4: timeouts.read: expected a number of seconds above 0, one year at most, found -1",
        "coregateway.toml:7: backends.billing.urls: expected a list of one or more distinct http(s)://host[:po",
        "COREGATEWAY_PROT: expected a known variable, found an unknown one; did you mean COREGATEWAY_PORT?",
        "COREGATEWAY_WORKERS: expected a number of processes from 0 to 1024 (0: one for each CPU),",
        "--coredinator-port: expected a port from 1 to 65535, found 0",
        "--port: expected a port from 0 to 65535 (0: any free one), found 99999",
        "coregateway.toml:8: backends.empty.prefix: expected a path such as",
        "coregateway.toml:8: backends.empty.urls: expected a list of one or more",
        'COREGATEWAY_CORS__CREDENTIALS: expected false while cors.origins holds "*" (default), found true',
        "coregateway.toml:6: backends.billing.prefix: expected another prefix than backend coredinator has (",
    ]
    assert [line[: len(start)] for line, start in zip(found, starts, strict=True)] == starts
    assert found[3].endswith('found "ftp://b"')
    assert found[5].endswith('found "four"')
    assert found[-1].endswith('(default), found "/api/v1/coredinator"')


def test_a_wrong_value_is_a_mistake_also_where_another_source_overrides_it(tmp_path: Path):
    write(tmp_path, "port = 99999")
    (line,) = report(tmp_path, {"COREGATEWAY_PORT": "80"})
    assert line.startswith("coregateway.toml:1: port: expected")


def test_a_wrong_value_does_not_make_others_wrong(tmp_path: Path):
    write(
        tmp_path,
        '[cors]\ncredentials = true\norigins = ["a"]\n[backends.b]\nurls = ["http://a"]\nprefix = "b"',
    )
    assert [line.split(": ")[1] for line in report(tmp_path)] == ["cors.origins", "backends.b.prefix"]


@pytest.mark.parametrize(
    ("toml", "meant"),
    [
        ("prot = 1", "port"),
        ("Port = 1", "port"),
        ("[timeout]\nread = 1", "timeouts"),
        ("[backend.a]", "backends"),
        ("[timeouts]\nreed = 1", "timeouts.read"),
        ("[timeouts]\nport = 1", "port"),
        ("max_body = 1", "limits.request.max_body"),
        ("[limits]\nmax_body = 1", "limits.request.max_body"),
        ("[limits.requests]", "limits.request"),
        ("[backends.coredinator]\nurl = 1", "backends.coredinator.urls"),
        ("[backends.coredinator]\npath = 1", "backends.coredinator.health.path"),
        ("[backends.coredinator.timeouts]\nconect = 1", "backends.coredinator.timeouts.connect"),
    ],
)
def test_a_mistyped_key_is_recognised(toml: str, meant: str, tmp_path: Path):
    write(tmp_path, toml)
    (line,) = report(tmp_path)
    assert line.endswith(f"expected a known key, found an unknown one; did you mean {meant}?")


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("COREGATEWAY_PROT", "COREGATEWAY_PORT"),
        ("COREGATEWAY_port", "COREGATEWAY_PORT"),
        ("COREGATEWAY_TIMEOUTS_READ", "COREGATEWAY_TIMEOUTS__READ"),
        ("COREGATEWAY_CONFIGS", "COREGATEWAY_CONFIG"),
        ("COREGATEWAY_BACKENDS__COREDINATOR__URL", "COREGATEWAY_BACKENDS__COREDINATOR__URLS"),
        ("COREGATEWAY_BACKENDS__BILLING__PREFIXES", "COREGATEWAY_BACKENDS__BILLING__PREFIX"),
    ],
)
def test_a_mistyped_variable_is_recognised(variable: str, meant: str, tmp_path: Path):
    assert report(tmp_path, {variable: "1"}) == [
        f"{variable}: expected a known variable, found an unknown one; did you mean {meant}?"
    ]


@pytest.mark.parametrize(
    ("toml", "found"),
    [
        (
            'forwarding.trusted_proxies = ["10.0.0.1/8", "::1", "localhost", 1]',
            '"10.0.0.1/8", "localhost", 1',
        ),
        ('cors.origins = ["a", "https://a", "b"]', '"a", "b"'),
        (
            'backends.coredinator.urls = ["http://a", "https://u:p@b", "http://c/%20"]',
            '"https://***@b", "http://c/%20"',
        ),
        (
            'backends.coredinator.methods = ["GTE", "GET", "PSOT", "get"]',
            '"GTE", "PSOT", "get"; did you mean GET, POST?',
        ),
        (
            'backends.coredinator.methods = ["GET", "PUT", "GET", "PUT"]',
            '"GET", "PUT"; did you mean GET, PUT?',
        ),
        (
            'access_log.fields = ["Status", "request-id", "x"]',
            '"Status", "request-id", "x"; did you mean status, request_id?',
        ),
        ("access_log.fields = [1, [], {}]", "1, an empty list, a table"),
        ("cors.origins = [1, 2]", "1, 2"),
    ],
)
def test_every_wrong_item_of_a_list_is_told(toml: str, found: str, tmp_path: Path):
    write(tmp_path, toml)
    (line,) = report(tmp_path)
    assert line.endswith(f", found {found}")


@pytest.mark.parametrize(
    ("toml", "meant"),
    [
        ('log_level = "WARN"', None),
        ('log_level = "INF"', "INFO"),
        ('log_level = "debgu"', "DEBUG"),
        ('backends.coredinator.methods = ["OPTION"]', "OPTIONS"),
        ('backends.coredinator.methods = ["trace"]', None),
        ('host = "a b"', None),
    ],
)
def test_a_mistyped_word_is_recognised(toml: str, meant: str | None, tmp_path: Path):
    write(tmp_path, toml)
    (line,) = report(tmp_path)
    assert line.partition("; did you mean ")[2] == (f"{meant}?" if meant else "")


@pytest.mark.parametrize(
    ("toml", "where", "rest"),
    [
        (
            "[limits]\nmax_connections = 10\nmax_keepalive_connections = 20",
            "coregateway.toml:3: limits.max_keepalive_connections",
            "expected no more than limits.max_connections, 10 (coregateway.toml:2), found 20",
        ),
        (
            "limits.max_keepalive_connections = 51",
            "coregateway.toml:1: limits.max_keepalive_connections",
            "expected no more than limits.max_connections, 50 (default), found 51",
        ),
        (
            'port = 9001\nadmin.address = "localhost:9001"',
            "coregateway.toml:2: admin.address",
            f'{NO_OTHER_PORT} (coregateway.toml:1), found "localhost:9001"',
        ),
        (
            "port = 9001",
            "default: admin.address",
            f'{NO_OTHER_PORT} (coregateway.toml:1), found "127.0.0.1:9001"',
        ),
        (
            "backends.coredinater.enabled = false",
            "coregateway.toml:1: backends.coredinater.enabled",
            'expected a backend that is there, found "coredinater"; did you mean the backend coredinator?',
        ),
    ],
)
def test_two_settings_that_cannot_stand_together_are_both_told(
    toml: str, where: str, rest: str, tmp_path: Path
):
    write(tmp_path, toml)
    assert report(tmp_path) == [f"{where}: {rest}"]


def test_an_unknown_name_that_resembles_nothing_gets_no_guess(tmp_path: Path):
    write(tmp_path, "xyzzy = 1")
    assert report(tmp_path, {"COREGATEWAY_XYZZY": "1"}) == [
        "coregateway.toml:1: xyzzy: expected a known key, found an unknown one",
        "COREGATEWAY_XYZZY: expected a known variable, found an unknown one",
    ]


def test_a_mistyped_backend_is_recognised(tmp_path: Path):
    (line,) = report(tmp_path, {"COREGATEWAY_BACKENDS__COREDINATR__URLS": "http://a"})
    assert line.startswith("COREGATEWAY_BACKENDS__COREDINATR__URLS: backends.coredinatr.prefix: expected ")
    assert line.endswith("found nothing; did you mean the backend coredinator?")


@pytest.mark.parametrize(
    "wrong",
    [
        "http://user:hunter2@host:80",
        "http://hunter2@host",
        "http://user:hun@hunter2@host",
        "http://user:hunter2/x@host",
        "user:hunter2@host:80",
        "http://host?token=hunter2",
        "http://host/?hunter2",
        "http://host#hunter2",
        "http://host/path#access_token=hunter2",
        "https://host/?a#b=hunter2",
        "host:80#hunter2",
        "Bearer hunter2",
        "Basic hunter2",
        "password=hunter2",
        "api_key: hunter2",
        "secret hunter2",
    ],
)
def test_what_may_be_a_credential_is_never_shown(wrong: str, tmp_path: Path):
    write(tmp_path, f'host = "{wrong}"\nbackends.coredinator.urls = ["{wrong}"]\ncors.origins = "{wrong}"')
    environ = {
        "COREGATEWAY_ADMIN__ADDRESS": wrong,
        "COREGATEWAY_BACKENDS__CORETELEMETRY__URLS": f"http://a,{wrong}",
    }
    lines = report(tmp_path, environ, Flag("--coredinator-port", wrong), Flag("--port", wrong))
    assert len(lines) == 7
    assert "hunter2" not in "".join(lines)


def test_the_value_of_an_unknown_key_is_never_shown(tmp_path: Path):
    write(tmp_path, 'password = "hunter2"')
    assert "hunter2" not in "".join(report(tmp_path, {"COREGATEWAY_PASSWORD": "hunter2"}))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        (1.5, "1.5"),
        ("", "an empty text"),
        ([], "an empty list"),
        (["a", 1], '["a", 1]'),
        ({"a": 1}, "a table"),
        ('a"\n\x1b\u2028é', r'"a\"\n\x1b\u2028\xe9"'),
        ("\udce9", r'"\udce9"'),
        ("http://user:pass@host:1", '"http://***@host:1"'),
    ],
)
def test_a_wrong_value_is_shown_on_one_line_of_ascii(value: object, text: str):
    assert shown(value) == text


def test_a_long_value_is_cut():
    assert len(shown("x" * 1000)) == len(shown(["x"] * 1000)) == len(shown(10**500)) == MAX_SHOWN
