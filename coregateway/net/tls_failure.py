"""Why a TLS connection could not be made. Pure.

To a backend: which of name, chain, time and handshake. With a client: which of `CAUSES`.
"""

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


LEFT: Final = "left"
"""The client has ended the connection."""
TIMEOUT: Final = "timeout"
"""It was not complete in time, or the gateway was stopped meanwhile."""
REJECTED: Final = "rejected"
"""The client has refused what it was shown, by an alert: the certificate, as a rule."""
CLIENT_CERTIFICATE: Final = "client_certificate"
"""The client has shown no certificate, or one that no authority of the settings vouches for."""
SERVER_NAME: Final = "server_name"
"""The client asks for a name that is not ASCII, which names on the wire always are (RFC 6066 §3)."""
VERSION: Final = "version"
"""The client speaks no version that is spoken here."""
AGREEMENT: Final = "agreement"
"""The two sides have no cipher, group or signature in common."""
PROTOCOL: Final = "protocol"
"""What came is no TLS."""

CAUSES: Final = (LEFT, TIMEOUT, REJECTED, CLIENT_CERTIFICATE, SERVER_NAME, VERSION, AGREEMENT, PROTOCOL)
"""Why a handshake with a client has failed."""

_reasons: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": CLIENT_CERTIFICATE,
    "CALLBACK_FAILED": SERVER_NAME,  # the one that chooses a certificate by the name
    "UNSUPPORTED_PROTOCOL": VERSION,
    "VERSION_TOO_LOW": VERSION,
    "NO_SHARED_CIPHER": AGREEMENT,
    "NO_SUITABLE_KEY_SHARE": AGREEMENT,
    "NO_SUITABLE_SIGNATURE_ALGORITHM": AGREEMENT,
    "NO_APPLICATION_PROTOCOL": AGREEMENT,
}


def cause_of(error: BaseException | None) -> str:
    """Why a handshake with a client has failed: one of `CAUSES`. None: this side has ended it."""
    if error is None:
        return TIMEOUT
    if isinstance(error, ssl.SSLCertVerificationError):
        return CLIENT_CERTIFICATE
    if not isinstance(error, ssl.SSLError):
        return LEFT
    reason: object = getattr(error, "reason", None)
    if not isinstance(reason, str):
        return PROTOCOL
    return REJECTED if "ALERT" in reason else _reasons.get(reason, PROTOCOL)


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
