"""The table `[store]`: where the rates of several nodes are counted together."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from coregateway.settings.table import Table
from coregateway.settings.values import Seconds

_URL = re.compile(r"(?:rediss?://[!-~]+|unix://[!-~]*/[!-~]+)")


def _url(text: str) -> str:
    if text and not _URL.fullmatch(text):
        raise ValueError
    return text


StoreURL = Annotated[
    str,
    AfterValidator(_url),
    Field(description='"redis://host:port/db", "rediss://…" (TLS), "unix:///path.sock", or "" for no store'),
]
OnError = Annotated[Literal["local", "allow", "deny"], Field(description='"local", "allow" or "deny"')]


class StoreSettings(Table):
    """Where rates are counted for all nodes with the same settings: Redis or Valkey."""

    url: StoreURL = ""
    """Empty: each node counts by itself."""
    timeout: Seconds = 0.02
    """Seconds that a request may wait for it."""
    on_error: OnError = "local"
    """While it does not answer the rates of the node alone hold; or requests pass; or they get 503."""
