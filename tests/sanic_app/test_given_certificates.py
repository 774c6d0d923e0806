"""Certificates that a program hands to Sanic mean what they mean in the settings, or are refused in words."""

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from sanic.http.tls import context as sanic_contexts

from coregateway.net.tls_server import Pair
from coregateway.sanic_app.given_certificates import (
    CONTEXT_REFUSED,
    PASSWORD_REFUSED,
    given_pairs,
    with_given_certificates,
)
from coregateway.settings import Settings, flags_here, load
from coregateway.settings.process import HANDED_DOWN
from tests import certificates

A = {"cert": "a.crt", "key": "a.key"}


@pytest.mark.parametrize(
    ("given", "pairs"),
    [
        (A, [Pair("a.crt", "a.key")]),
        ({"certificate": "a.crt", "keyfile": "a.key", "names": ["a"]}, [Pair("a.crt", "a.key")]),
        ("/live/a", [Pair("/live/a/fullchain.pem", "/live/a/privkey.pem")]),
        (["/live/a", A], [Pair("/live/a/fullchain.pem", "/live/a/privkey.pem"), Pair("a.crt", "a.key")]),
    ],
)
def test_all_forms_that_sanic_takes_name_files(given: object, pairs: list[Pair]) -> None:
    assert [*given_pairs(given)] == pairs


def test_a_context_of_sanics_own_knows_its_files() -> None:
    pair = certificates.pair_file("a.example")
    contexts: Any = sanic_contexts
    context = contexts.process_to_context({"cert": pair, "key": pair})
    assert given_pairs(context) == (Pair(pair, pair),)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (ssl.create_default_context(), CONTEXT_REFUSED),
        ([], CONTEXT_REFUSED),
        (A | {"password": "secret"}, PASSWORD_REFUSED),
        ({"cert": "a.crt"}, "cert and key are needed"),
    ],
)
def test_others_are_refused(given: object, words: str) -> None:
    with pytest.raises(ValueError, match=words.split("(", maxsplit=1)[0]):
        given_pairs(given)


def test_files_that_do_not_fit_end_the_start(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended, capsys.disabled():
        with_given_certificates(Settings(), str(tmp_path))
    assert ended.value.code == 2


def test_a_reload_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(HANDED_DOWN, "[]")
    one, two = certificates.pair_file("a.example"), certificates.pair_file("b.example")
    given = with_given_certificates(Settings(), [{"cert": one, "key": one}, {"cert": two, "key": two}])
    again = load(flags_here(), os.environ, tmp_path).settings
    assert again.tls == given.tls
    assert given.tls.options is not None
    assert given.tls.options.pairs == (Pair(one, one), Pair(two, two))
