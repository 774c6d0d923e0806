"""Which words a mistyped one may have meant."""

import pytest

from coregateway.settings.keys import validated
from coregateway.settings.spelling import closest, is_slip, slip_of
from coregateway.settings.values import KNOWN_METHODS


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *(("GTE", "GET"), ("EGT", "GET"), ("GT", "GET"), ("GE", "GET"), ("GEET", "GET"), ("GETT", "GET")),
        *(("GAT", "GET"), ("GEP", "GET"), ("PSOT", "POST"), ("DELET", "DELETE"), ("MKCOLL", "MKCOL")),
    ],
)
def test_one_slip_of_the_fingers_is_seen(typed: str, meant: str) -> None:
    assert is_slip(typed, meant)
    assert slip_of(typed, ["HEAD", meant, "PROPFIND"]) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *(
            ("GET", "GET"),
            ("SET", "GET"),
            ("ET", "GET"),
            ("AGET", "GET"),
            ("TGE", "GET"),
            ("", "GET"),
            ("", ""),
        ),
        *(("WATCH", "PATCH"), ("GTEE", "GET"), ("PSTO", "POST"), ("PURGE", "MERGE"), ("GET", "")),
    ],
)
def test_another_word_is_no_slip(typed: str, meant: str) -> None:
    assert not is_slip(typed, meant)


def test_no_known_method_is_a_slip_of_another_and_all_pass() -> None:
    assert [each for each in KNOWN_METHODS if slip_of(each, KNOWN_METHODS)] == []
    assert validated(("backends", "x", "methods"), [*KNOWN_METHODS]) == KNOWN_METHODS


def test_a_word_that_resembles_nothing_means_nothing() -> None:
    assert closest("xyzzy", ["port", "host"]) is None
    assert slip_of("xyzzy", ["port", "host"]) is None
    assert closest("prot", ["port", "host"]) == "port"
