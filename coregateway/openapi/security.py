"""What a caller must show: what the gateway asks for, and what the backend's document says besides."""

from collections.abc import Iterable, Mapping
from typing import Any

from coregateway.openapi.grammar import texts
from coregateway.openapi.recipe import Recipe, Way
from coregateway.openapi.references import References, is_row, is_table, row, table

type JSON = dict[str, Any]
type Requirements = list[JSON]
"""One of which must be met, each by all that it names."""


def gateways(ways: Iterable[Way], *, anonymous: bool) -> Requirements:
    """What the gateway itself asks for; empty: nothing."""
    found: Requirements = [{way.scheme: []} for way in ways]
    return [*found, {}] if found and anonymous else found


def field_of(scheme: JSON) -> str:
    """The field that shows it, in lower case; empty: none does."""
    match scheme.get("type"):
        case "apiKey":
            return str(scheme.get("name")).lower() if scheme.get("in") == "header" else ""
        case "http" | "oauth2" | "openIdConnect":
            return "authorization"
        case _:
            return ""


class Security:
    """Of one backend."""

    def __init__(self, recipe: Recipe, references: References, schemes: Mapping[str, JSON]) -> None:
        """`schemes`: those of the backend that were kept, by their own names."""
        self._ways = recipe.ways
        self._own = gateways(recipe.ways, anonymous=recipe.anonymous)
        self._names = references.names["securitySchemes"]
        self._schemes = schemes

    def of(self, asked: object) -> Requirements | None:
        """Of an operation, of which the document says this; None: nothing is asked for."""
        backends = self._backends(asked)
        if not self._own:
            return backends or None
        if not backends:
            return self._own
        found: Requirements = []
        for own in self._own:
            field = next((way.field for way in self._ways if way.scheme in own), None)
            for each in backends:
                # A field shows one thing: what is in the gateway's is for the gateway.
                rest = {
                    self._names[name]: scopes
                    for name, scopes in each.items()
                    if field is None or field_of(self._schemes[name]) != field
                }
                if (both := own | rest) not in found:
                    found.append(both)
        return found

    def _backends(self, asked: object) -> Requirements:
        """By the schemes' own names, where the gateway asks for anything; else by those of now."""
        found: Requirements = []
        for each in row(asked):
            if not is_table(each):
                continue
            names = table(each)
            if not all(name in self._schemes for name in names):
                continue  # it cannot be met by what is described here
            scopes: JSON = {name: texts(value) if is_row(value) else [] for name, value in names.items()}
            own = {self._names[name]: value for name, value in scopes.items()}
            found.append(scopes if self._own else own)
        return found
