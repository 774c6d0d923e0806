"""The fields of messages that settings may name: to look at, or to change by `[request]` and `[response]`.

Fields of framing, of one hop, and those that the gateway writes itself are none of them.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from coregateway.http1.grammar import is_token
from coregateway.http1.request import DROPPED, FORWARDED, NOTED, SCHEME
from coregateway.settings.table import Table
from coregateway.settings.values import demand, list_as_tuple

# RFC 9110 §5.5, in ASCII; `$` begins a reference, and stands for itself elsewhere
_FIELD_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")
_REFERENCE = re.compile(r"\$\{([^}]*)\}?")

REFERENCES = ("client", "client_cert", "request_id", "consumer", "route")
"""What `${...}` in a field's value may name."""

FRAMING = frozenset(
    (
        *("connection", "content-length", "host", "http2-settings", "keep-alive", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
    )
)
"""Fields of framing, or for one hop alone (RFC 9110 §7.6.1), which the gateway writes itself."""

RESERVED = frozenset(
    (
        *("via", "x-request-id", "x-corerl-version", "x-coregateway-error", "date", "expect"),
        *("max-forwards", "traceparent", "tracestate", "sec-websocket-accept", "sec-websocket-extensions"),
        *("sec-websocket-key", "sec-websocket-version"),
    )
)
"""Further ones that it writes itself."""

RESERVED_FRONTS = ("proxy-", "x-forwarded-")
"""What the names of still further ones begin with."""


def _field_name(text: str) -> str:
    # Fields with an underscore are dropped from every request.
    demand(text.isascii() and is_token(text.encode()) and "_" not in text)
    return text


def seen_field(text: str) -> str:
    """One that a request may still have when its route is looked up: proxies' are known apart."""
    name = _field_name(text).lower()
    own = name.encode()
    demand(
        own in NOTED
        or own == SCHEME
        or not (own in DROPPED or own in FORWARDED or name.startswith(RESERVED_FRONTS))
    )
    return text


def changed_field(text: str) -> str:
    """The name of a field that settings may change. Raises ValueError."""
    name = _field_name(text).lower()
    demand(name not in FRAMING and name not in RESERVED and not name.startswith(RESERVED_FRONTS))
    return text


def _field_value(text: str) -> str:
    demand(_FIELD_VALUE.fullmatch(text) is not None)
    demand(all(match.group() == f"${{{match[1]}}}" for match in _REFERENCE.finditer(text)))
    demand(set(_REFERENCE.findall(text)) <= set(REFERENCES))
    return text


def _condition(text: str) -> str:
    demand(_FIELD_VALUE.fullmatch(text) is not None and text != "")
    return text


def _one_spelling_each[T](fields: dict[str, T]) -> dict[str, T]:
    demand(len({name.lower() for name in fields}) == len(fields))
    return fields


def _known_schemes(fields: dict[str, str]) -> dict[str, str]:
    demand(
        all(value in ("http", "https") for name, value in fields.items() if name.lower().encode() == SCHEME)
    )
    return fields


def _removed(names: tuple[str, ...]) -> tuple[str, ...]:
    demand(len({name.lower() for name in names}) == len(names))
    return names


def _seen_field_or_nothing(text: str) -> str:
    return seen_field(text) if text else text


Conditions = Annotated[
    dict[Annotated[str, AfterValidator(seen_field)], Annotated[str, AfterValidator(_condition)]],
    AfterValidator(_one_spelling_each),
    AfterValidator(_known_schemes),
    Field(
        description='a table of field names and the values that they must have, "*" for any; none that is '
        'dropped, or that only proxies set, but X-Forwarded-Proto, "http" or "https"'
    ),
]
FieldsToSet = Annotated[
    dict[Annotated[str, AfterValidator(changed_field)], Annotated[str, AfterValidator(_field_value)]],
    AfterValidator(_one_spelling_each),
    Field(
        description="a table of field names and values in ASCII, in which "
        f"{', '.join(f'${{{name}}}' for name in REFERENCES)} may stand; "
        "no field of framing, of one hop, or that the gateway writes itself"
    ),
]
FieldsToRemove = Annotated[
    tuple[Annotated[str, AfterValidator(changed_field)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(_removed),
    Field(
        description="a list of distinct field names; none of framing, of one hop, "
        "or that the gateway writes itself"
    ),
]
SeenName = Annotated[
    str,
    AfterValidator(_seen_field_or_nothing),
    Field(description='the name of a field, or "" for none; none that is dropped, or that only proxies set'),
]


class FieldRules(Table):
    """What is done to the fields of a message: removed first, then set, then added."""

    set: FieldsToSet = Field(default_factory=dict)
    """In the place of all lines of the name."""
    add: FieldsToSet = Field(default_factory=dict)
    remove: FieldsToRemove = ()
