"""TLS: towards backends, under each backend. Files are read when the settings are, and whenever they are read
again."""

import re
from collections.abc import Iterator, Mapping
from ssl import SSLError
from typing import Annotated

from pydantic import AfterValidator, Field

from coregateway.net.tls_contexts import ClientTls, client_context, client_tls
from coregateway.net.tls_failure import in_words
from coregateway.settings.contradiction import Contradiction, KeyPath
from coregateway.settings.table import Table
from coregateway.settings.values import Switch, split_authority

_PATH = re.compile(r"[^\0\r\n]*")


def _path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError
    return text


def _server_name(text: str) -> str:
    split = split_authority(f"[{text}]" if ":" in text else text)
    if text and (split is None or split[1] is not None):
        raise ValueError
    return text


FilePath = Annotated[
    str, AfterValidator(_path), Field(description="the path of a PEM file, or an empty text")
]

ServerName = Annotated[
    str, AfterValidator(_server_name), Field(description="a host name or address, or empty")
]


class BackendTlsSettings(Table):
    """Of a backend's connections to its `urls` that say `https`."""

    ca: FilePath = ""
    """A file of authorities (PEM) that may vouch for the backend; empty: those of the system."""
    cert: FilePath = ""
    """A file with the certificate (PEM) that the backend is shown where it asks for one, and with those that
    lead to its authority; empty: none."""
    key: FilePath = ""
    """A file with its private key; empty: `cert` holds it, too."""
    server_name: ServerName = ""
    """What the backend's certificate must be for, and what it is asked for (SNI); empty: the URL's host."""
    verify: Switch = True
    """False: whatever certificate it shows is taken, so that anybody on the way may read and change all."""

    @property
    def options(self) -> ClientTls:
        """With the files as they are now."""
        return client_tls(self.ca, self.cert, self.key, self.server_name, self.verify)


def wrong_files(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """What cannot be read of the files that these settings name, or does not fit together."""
    tables = dict.fromkeys(key[:-1] for key in values if key[0] == "backends" and key[2:-1] == ("tls",))
    for table in tables:
        ca, cert, key = (str(values.get((*table, name), "")) for name in ("ca", "cert", "key"))
        if ca and (problem := _problem(client_tls(ca, "", "", "", True))):
            yield Contradiction((*table, "ca"), f"a file with certificates in PEM ({problem})")
        if key and not cert:
            yield Contradiction((*table, "key"), f"a certificate for it in {table[-1]}.cert")
        elif cert and (problem := _problem(client_tls("", cert, key, "", False))):
            yield Contradiction(
                (*table, "cert"), f"a file with a certificate in PEM, and its key in tls.key ({problem})"
            )


def _problem(tls: ClientTls) -> str:
    """Why no connection could go by it; empty if one could."""
    try:
        client_context(tls)
    except OSError as error:
        return (error.strerror if not isinstance(error, SSLError) else None) or in_words(error)
    except ValueError as error:
        return str(error)
    return ""
