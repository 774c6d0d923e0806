"""Certificates that a program hands to Sanic (`ssl`), as settings: what they mean there, they mean here."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from ssl import SSLContext
from typing import cast

from coregateway.net.tls_server import Pair
from coregateway.settings import Flag, Settings
from coregateway.settings.process import EXIT_WRONG_SETTINGS, hand_down, handed_down, started_by_sanic
from coregateway.settings.tls import problem_of

CONTEXT_REFUSED = "an SSLContext holds no names of files: give Sanic's ssl those of a certificate and its key"
PASSWORD_REFUSED = "a private key with a password is not taken: give Sanic's ssl one without"  # noqa: S105


def with_given_certificates(settings: Settings, ssl: object) -> Settings:
    """The settings with the certificates of Sanic's option in the place of their own, after reloads, too.

    Those of Sanic's command line are in the settings by now. Exits with status 2 and a line on stderr: they
    are of no use.
    """
    if ssl is None or started_by_sanic(sys.argv):
        return settings
    try:
        first, *others = given_pairs(ssl)
        given = {"cert": first.cert, "key": first.key}
        tls = settings.tls.model_copy(update=given | ({"certificates": tuple(others)} if others else {}))
        if (options := tls.options) is not None and (problem := problem_of(options)):
            raise ValueError(problem)
    except ValueError as error:
        print(f"ssl: {error}", file=sys.__stderr__)
        raise SystemExit(EXIT_WRONG_SETTINGS) from None
    flags = [*handed_down(os.environ), *(Flag(f"--{name}", path) for name, path in given.items())]
    if others:
        tables = (f"{{ cert = {json.dumps(pair.cert)}, key = {json.dumps(pair.key)} }}" for pair in others)
        flags.append(Flag("--tls", f"[{', '.join(tables)}]"))
    hand_down(flags, os.environ)
    return settings.model_copy(update={"tls": tls})


def given_pairs(ssl: object) -> tuple[Pair, ...]:
    """The files of certificates in one of the forms that Sanic takes; at least one pair.

    Raises ValueError: it is none of them, or its files are not known.
    """
    if isinstance(ssl, list | tuple) and ssl:
        return tuple(pair for each in cast("Sequence[object]", ssl) for pair in given_pairs(each))
    if isinstance(ssl, str):  # as Sanic's `load_cert_dir`: the names that certbot gives them
        return (Pair(str(Path(ssl, "fullchain.pem")), str(Path(ssl, "privkey.pem"))),)
    if isinstance(ssl, SSLContext):
        ssl = getattr(ssl, "sanic", None)  # what Sanic has made one of
    if not isinstance(ssl, Mapping):
        raise ValueError(CONTEXT_REFUSED)
    given = cast("Mapping[str, object]", ssl)
    if given.get("password"):
        raise ValueError(PASSWORD_REFUSED)
    cert, key = given.get("certificate") or given.get("cert"), given.get("keyfile") or given.get("key")
    if not (cert and key):
        raise ValueError("cert and key are needed")
    return (Pair(str(cert), str(key)),)
