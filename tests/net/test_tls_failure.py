"""Why a TLS connection could not be made, by the error that was met."""

import ssl

import pytest

from coregateway.net.tls_failure import LEFT, TIMEOUT, cause_of, failure_of, in_words


def test_an_error_without_a_reason_is_told_in_its_own_words() -> None:
    with pytest.raises(ssl.SSLError) as caught:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(__file__)
    assert in_words(caught.value)
    assert failure_of(caught.value) == "tls_handshake"


def test_what_is_no_failure_of_tls_is_none() -> None:
    assert failure_of(ConnectionResetError()) is None
    assert in_words(OSError("gone")) == "gone"


def test_a_handshake_that_no_error_of_tls_has_ended_was_left_or_took_too_long() -> None:
    assert cause_of(None) == TIMEOUT
    assert cause_of(ConnectionResetError()) == LEFT
