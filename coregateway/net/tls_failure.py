"""Why a TLS connection could not be made: which of name, chain, time and handshake. Pure."""

import ssl
from typing import Final

NAME: Final = "tls_name"
"""The certificate is for another name."""
TIME: Final = "tls_time"
"""It has expired, or is not valid yet."""
CHAIN: Final = "tls_chain"
"""No trusted authority vouches for it."""
HANDSHAKE: Final = "tls_handshake"
"""The two sides could not agree, or the peer does not speak TLS."""

_TIMES: Final = frozenset({9, 10})
_NAMES: Final = frozenset({62, 63, 64})
"""Of OpenSSL's X509_V_ERR_ (x509_vfy.h): not yet valid, expired; another host, e-mail or address."""

_codes: Final = {**dict.fromkeys(_TIMES, TIME), **dict.fromkeys(_NAMES, NAME)}


def failure_of(error: BaseException) -> str | None:
    """One of the tokens above; None: it is no failure of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _codes.get(error.verify_code, CHAIN)
    return HANDSHAKE if isinstance(error, ssl.SSLError) else None


def in_words(error: BaseException) -> str:
    """What went wrong, in OpenSSL's words, which hold no byte of the peer's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    reason: object = getattr(error, "reason", None)  # which its type promises, and some errors lack
    if isinstance(error, ssl.SSLError) and isinstance(reason, str):
        return reason.lower().replace("_", " ")
    return str(error)
