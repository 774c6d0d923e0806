"""Which pages of other origins may call the backends: the table `[cors]`, and its rules."""

from collections.abc import Collection, Iterator, Mapping
from typing import cast

from coregateway.settings.contradiction import Contradiction, KeyPath
from coregateway.settings.table import Table
from coregateway.settings.values import Origins, Switch


class CorsSettings(Table):
    origins: Origins = ("*",)
    """As browsers spell them; empty: the gateway leaves CORS to the backends."""
    credentials: Switch = False


def contradictions(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """The rules that `values` breaks, as `model.contradictions`."""
    origins = values.get(("cors", "origins"))
    if values.get(("cors", "credentials")) is True and isinstance(origins, tuple) and "*" in origins:
        # Fetch standard §3.2.5: browsers refuse "*" with credentials; echoing any origin opens every session
        yield Contradiction(
            ("cors", "credentials"), 'false while cors.origins holds "*"', ("cors", "origins")
        )
    if origins:
        yield from _fields_of_cors(values)


def _fields_of_cors(values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """Rules for fields that are the gateway's own while it answers for the backends' CORS."""
    for key, value in values.items():
        if key[-2:-1] == ("response",) and isinstance(value, dict | tuple):
            for name in cast("Collection[str]", value):
                if name.lower().startswith("access-control-"):
                    expected = "no field Access-Control-… while cors.origins has an origin"
                    yield Contradiction(key, expected, ("cors", "origins"), name)
