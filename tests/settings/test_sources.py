"""Where settings come from, and which source wins."""

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from time import process_time

import pytest

from coregateway.settings import Flag, Loaded, SettingsError, load
from coregateway.settings.keys import NODE_KEYS, from_text, key_of_variable, variable_of
from coregateway.settings.model import KeyPath
from coregateway.settings.report import effective
from coregateway.settings.sources import File


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


LAYERS: Mapping[KeyPath, tuple[tuple[str, object], tuple[str, object], tuple[Flag, object], object]] = {
    ("port",): (("port = 1", 1), ("2", 2), (Flag("--port", "3"), 3), 8001),
    ("host",): (('host = "a"', "a"), ("b", "b"), (Flag("--host", "c"), "c"), "0.0.0.0"),
    ("log_level",): (
        ('log_level = "ERROR"', "ERROR"),
        ("debug", "DEBUG"),
        (Flag("--log-level", "critical"), "CRITICAL"),
        "INFO",
    ),
    ("backends", "coredinator", "urls"): (
        ('backends.coredinator.urls = ["http://a"]', ("http://a",)),
        ("http://b, http://c:1", ("http://b", "http://c:1")),
        (Flag("--coredinator-port", "7"), ("http://localhost:7",)),
        ("http://localhost:7000",),
    ),
}


def value_of(loaded: Loaded, key: KeyPath) -> object:
    value: object = loaded.settings
    for part in key:
        value = loaded.settings.backends[part] if value is loaded.settings.backends else getattr(value, part)
    return value


@pytest.mark.parametrize("key", LAYERS, ids=variable_of)
@pytest.mark.parametrize("given", list(product([False, True], repeat=3)), ids=str)
def test_flags_win_over_variables_over_the_file_over_defaults(
    key: KeyPath, given: tuple[bool, bool, bool], tmp_path: Path
):
    in_file, in_environment, on_command_line = given
    (toml, from_file), (text, from_variable), (flag, from_flag), default = LAYERS[key]
    expected, source = default, "default"
    if in_file:
        write(tmp_path, toml)
        expected, source = from_file, "coregateway.toml:1"
    if in_environment:
        expected, source = from_variable, variable_of(key)
    if on_command_line:
        expected, source = from_flag, flag.name
    environ = {variable_of(key): text} if in_environment else {}
    loaded = load([flag] if on_command_line else [], environ, tmp_path)
    assert value_of(loaded, key) == expected
    assert str(loaded.source_of(*key)) == source
    assert loaded.is_default(*key) == (source == "default")


def test_every_node_wide_key_has_a_variable():
    assert variable_of(("limits", "request", "max_head")) == "COREGATEWAY_LIMITS__REQUEST__MAX_HEAD"
    assert {key_of_variable(variable_of(key)) for key in NODE_KEYS} == set(NODE_KEYS)


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("COREGATEWAY_BACKENDS__COREDINATOR__URLS", ("backends", "coredinator", "urls")),
        ("COREGATEWAY_BACKENDS__BILLING__HEALTH__PATH", ("backends", "billing", "health", "path")),
        ("COREGATEWAY_BACKENDS__A__TIMEOUTS__READ", ("backends", "a", "timeouts", "read")),
        ("COREGATEWAY_BACKENDS__A__B__URLS", ("backends", "a__b", "urls")),
        ("COREGATEWAY_BACKENDS__A_B___PREFIX", ("backends", "a_b_", "prefix")),
        ("COREGATEWAY_BACKENDS__URLS", None),
        ("COREGATEWAY_BACKENDS____URLS", None),
        ("COREGATEWAY_BACKENDS", None),
        ("COREGATEWAY_TIMEOUTS", None),
        ("COREGATEWAY_port", None),
    ],
)
def test_a_variable_names_a_key(variable: str, key: KeyPath | None):
    assert key_of_variable(variable) == key


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        (("port",), "80", 80),
        (("port",), " 80 ", 80),
        (("port",), "8_0", "8_0"),
        (("port",), "٨٠", "٨٠"),
        (("port",), "80.0", "80.0"),
        (("port",), "", ""),
        (("timeouts", "read"), "30", 30),
        (("timeouts", "read"), "1.5e1", 15.0),
        (("timeouts", "read"), ".5", 0.5),
        (("timeouts", "read"), "inf", "inf"),
        (("timeouts", "read"), "5s", "5s"),
        (("cors", "credentials"), "True", True),
        (("cors", "credentials"), "false", False),
        (("cors", "credentials"), "1", "1"),
        (("cors", "origins"), "https://a, https://b", ["https://a", "https://b"]),
        (("cors", "origins"), "", []),
        (("cors", "origins"), "*,", ["*", ""]),
        (("admin", "address"), "", ""),
        (("host",), "80", "80"),
    ],
)
def test_a_text_means_what_its_key_holds(key: KeyPath, text: str, value: object):
    found = from_text(key, text)
    assert (found, type(found)) == (value, type(value))


def test_a_backend_may_come_from_the_environment_alone(tmp_path: Path):
    environ = {
        "COREGATEWAY_BACKENDS__BILLING__PREFIX": "/bills",
        "COREGATEWAY_BACKENDS__BILLING__URLS": "http://a:1,http://b:2",
        "COREGATEWAY_BACKENDS__BILLING__METHODS": "GET,PUT",
        "COREGATEWAY_BACKENDS__BILLING__HEALTH__PATH": "/up",
        "COREGATEWAY_BACKENDS__BILLING__TIMEOUTS__READ": "2.5",
    }
    billing = load((), environ, tmp_path).settings.backends["billing"]
    assert (billing.prefix, billing.urls) == ("/bills", ("http://a:1", "http://b:2"))
    assert (billing.methods, billing.health.path, billing.timeouts.read) == (("GET", "PUT"), "/up", 2.5)


def test_a_backend_may_come_half_from_the_file_and_half_from_the_environment(tmp_path: Path):
    write(tmp_path, '[backends.billing]\nprefix = "/bills"')
    loaded = load((), {"COREGATEWAY_BACKENDS__BILLING__URLS": "http://a"}, tmp_path)
    assert str(loaded.source_of("backends", "billing", "prefix")) == "coregateway.toml:2"
    assert loaded.settings.backends["billing"].urls == ("http://a",)


def test_the_flag_names_the_file_before_the_variable_does(tmp_path: Path):
    flag, variable = write(tmp_path, "port = 1", "flag.toml"), write(tmp_path, "port = 2", "variable.toml")
    write(tmp_path, "port = 3")
    environ = {"COREGATEWAY_CONFIG": str(variable)}
    assert load([Flag("--config", str(flag))], environ, tmp_path).settings.port == 1
    assert load((), environ, tmp_path).settings.port == 2
    assert load((), {}, tmp_path).settings.port == 3


@pytest.mark.parametrize("name", ["absent.toml", "", ".", "a\0b"])
def test_a_named_file_must_be_there(name: str, tmp_path: Path):
    if name:
        (line,) = report(tmp_path, {"COREGATEWAY_CONFIG": name})
        assert line.startswith("COREGATEWAY_CONFIG: expected a TOML file, found ")
    (line,) = report(tmp_path, {}, Flag("--config", name))
    assert line.startswith("--config: expected a TOML file, found ")


@pytest.mark.parametrize(
    "variable",
    [
        *("COREGATEWAY_PORT", "COREGATEWAY_HOST", "COREGATEWAY_LOG_LEVEL", "COREGATEWAY_TIMEOUTS__READ"),
        *("COREGATEWAY_CORS__CREDENTIALS", "COREGATEWAY_TRACING__ENDPOINT", "COREGATEWAY_CONFIG"),
        *("COREGATEWAY_BACKENDS__COREDINATOR__URLS", "COREGATEWAY_BACKENDS__COREDINATOR__METHODS"),
        *("COREGATEWAY_BACKENDS__BILLING__URLS", "COREGATEWAY_BACKENDS__coredinator__ENABLED"),
        "COREGATEWAY_NOTHING",
    ],
)
def test_an_empty_variable_is_not_given(variable: str, tmp_path: Path):
    write(tmp_path, "port = 1")
    loaded = load((), {variable: ""}, tmp_path)
    assert loaded == load((), {}, tmp_path)
    assert loaded.settings.port == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("admin", "address"), ""),
        (("cors", "origins"), ()),
        (("forwarding", "trusted_proxies"), ()),
        (("access_log", "fields"), ()),
        (("backends", "coredinator", "health", "path"), None),
    ],
)
def test_an_empty_variable_is_given_where_empty_is_a_value(key: KeyPath, value: object, tmp_path: Path):
    loaded = load((), {variable_of(key): ""}, tmp_path)
    assert value_of(loaded, key) == value
    assert str(loaded.source_of(*key)) == variable_of(key)


@pytest.mark.parametrize("text", ["port = 1\nhost = 'a'", "\nport = 1", "# a\r\nport = 1"])
def test_a_byte_order_mark_is_no_part_of_the_file(text: str, tmp_path: Path):
    file = write(tmp_path, text)
    plain = load((), {}, tmp_path)
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    marked = load((), {}, tmp_path)
    assert marked.settings == plain.settings
    assert str(marked.source_of("port")) == str(plain.source_of("port"))


def test_a_byte_order_mark_further_on_is_a_mistake(tmp_path: Path):
    write(tmp_path, "port = 1\n\ufeffhost = 'a'")
    (line,) = report(tmp_path)
    assert line.startswith("coregateway.toml:2:1: expected TOML, found a syntax error")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "port = 1\nhost == 2\n",
            "coregateway.toml:2:7: expected TOML, found a syntax error (Invalid value)",
        ),
        ("port = 1\nport = 2", "coregateway.toml:2: expected TOML, found a syntax error (Cannot"),
        ("host = '", "coregateway.toml:1: expected TOML, found a syntax error ("),
    ],
)
def test_a_file_that_is_no_toml_is_one_mistake_with_its_line(text: str, line: str, tmp_path: Path):
    write(tmp_path, text)
    (found,) = report(tmp_path)
    assert found.startswith(line)


def test_a_file_that_is_no_text_is_a_mistake(tmp_path: Path):
    (tmp_path / "coregateway.toml").write_bytes(b'host = "\xe9"')
    assert report(tmp_path) == ["coregateway.toml: expected text in UTF-8, found byte 0xe9"]


def test_what_only_the_unreadable_file_could_settle_is_no_mistake(tmp_path: Path):
    write(tmp_path, "[")
    environ = {"COREGATEWAY_BACKENDS__BILLING__URLS": "http://a", "COREGATEWAY_CORS__CREDENTIALS": "true"}
    assert len(report(tmp_path, environ)) == 1


def test_a_key_is_found_on_the_line_where_its_statement_begins(tmp_path: Path):
    write(
        tmp_path,
        '# first\nport = 1\n\n[cors]\norigins = [\n  # "]\n  "https://a",\n]\ncredentials = true\n'
        '[backends.b]\r\nhealth.path = """\\\r\n  /up"""\nurls = ["http://b"]\nprefix = "/b"',
    )
    loaded = load((), {}, tmp_path)
    lines = {
        ".".join(key): str(source).removeprefix("coregateway.toml:") for key, source in loaded.sources.items()
    }
    assert lines == {
        "port": "2",
        "cors.origins": "5",
        "cors.credentials": "9",
        "backends.b.health.path": "11",
        "backends.b.urls": "13",
        "backends.b.prefix": "14",
    }


@pytest.mark.parametrize(
    ("toml", "lines"),
    [
        ('backends."b".urls = [ "a" ]\nbackends.b.prefix = "/b"', (1, 2)),
        ('[backends]\nb.urls = [\n"a]", # ]\n"b"]\nb.prefix = "/b"', (2, 5)),
        ("[ backends . b ] # [x]\n\nurls = [\n'''a]\n''',\n'[]']\nprefix = \"/b\"", (3, 7)),
        ('[backends]\nb = { urls = [\n"a"\n], prefix = "/b" }', (2, 2)),
        ('# \x85\u2028\n[backends.b]\nurls = ["a"]\n[backends.b.health]\n[admin]\n', (3, None)),
        ("[[backends.b]]\nurls = 1\n[port]", (2, None)),
    ],
)
def test_a_line_is_told_however_the_file_writes_its_keys(toml: str, lines: tuple[int | None, ...]):
    file = File("coregateway.toml", toml)
    assert (file.line_of(("backends", "b", "urls")), file.line_of(("backends", "b", "prefix"))) == lines


def rows_of_backends(keys: str) -> str:
    return "".join(f"[backends.b{number}]\n{keys.format(number)}\n" for number in range(1000))


def test_a_thousand_backends_are_read_and_told_in_little_time(tmp_path: Path):
    write(tmp_path, rows_of_backends('urls = ["http://b{0}"]\nprefix = "/b{0}"'))
    begin = process_time()
    shown = effective(load((), {}, tmp_path))
    assert process_time() - begin < 3
    assert re.search(r"^backends.b999.prefix += .* coregateway.toml:3000$", shown, re.MULTILINE)


def test_a_mistake_in_each_of_a_thousand_backends_is_told_in_little_time(tmp_path: Path):
    write(tmp_path, rows_of_backends('urls = ["http://b{0}"]'))
    begin = process_time()
    mistakes = report(tmp_path)
    assert process_time() - begin < 3
    assert len(mistakes) == 1000
    assert mistakes[-1].startswith("coregateway.toml:1999: backends.b999.prefix: expected ")


def test_variables_that_kubernetes_sets_for_a_service_of_our_name_are_not_settings(tmp_path: Path):
    environ = {
        "COREGATEWAY_SERVICE_HOST": "10.0.0.1",
        "COREGATEWAY_SERVICE_PORT": "8001",
        "COREGATEWAY_SERVICE_PORT_HTTP": "8001",
        "COREGATEWAY_PORT": "tcp://10.0.0.1:8001",
        "COREGATEWAY_PORT_8001_TCP": "tcp://10.0.0.1:8001",
        "COREGATEWAY_PORT_8001_TCP_PROTO": "tcp",
        "COREGATEWAY_PORT_8001_TCP_PORT": "8001",
        "COREGATEWAY_PORT_8001_TCP_ADDR": "10.0.0.1",
    }
    assert load((), environ, tmp_path).sources == {}


def test_the_effective_settings_are_toml_with_the_source_of_each(tmp_path: Path):
    write(
        tmp_path,
        'timeouts.read = 3\ncors.origins = []\nforwarding.trusted_proxies = ["::1"]\n'
        "backends.coretelemetry.enabled = false\n"
        '[backends.b]\nprefix = "/b"\nurls = ["http://b"]',
    )
    environ = {"COREGATEWAY_BACKENDS__B__TIMEOUTS__POOL": "9"}
    loaded = load([Flag("--port", "0")], environ, tmp_path)
    lines = effective(loaded).splitlines()
    rows = {line.split(" = ")[0].strip(): line.split(" = ")[1].rsplit("  ", 1) for line in lines}
    shown_rows = {key: (value.strip(), source) for key, (value, source) in rows.items()}
    assert shown_rows["port"] == ("0", "--port")
    assert shown_rows["host"] == ('"0.0.0.0"', "default")
    assert shown_rows["timeouts.read"] == ("3.0", "coregateway.toml:1")
    assert shown_rows["cors.origins"] == ("[]", "coregateway.toml:2")
    assert shown_rows["cors.credentials"] == ("false", "default")
    assert shown_rows["forwarding.trusted_proxies"] == ('["::1/128"]', "coregateway.toml:3")
    assert shown_rows["backends.b.health.path"] == ('""', "default")
    assert shown_rows["backends.b.timeouts.read"] == ("3.0", "as timeouts.read")
    assert shown_rows["backends.b.timeouts.pool"] == ("9.0", "COREGATEWAY_BACKENDS__B__TIMEOUTS__POOL")
    assert shown_rows["backends.coretelemetry.enabled"] == ("false", "coregateway.toml:4")
    assert not [key for key in shown_rows if key.startswith("backends.coretelemetry.")][1:]
    assert len({line.index(" = ") for line in lines}) == 1

    write(tmp_path, "\n".join(f"{key} = {value}" for key, (value, _) in shown_rows.items()))
    assert load((), {}, tmp_path).settings == loaded.settings
