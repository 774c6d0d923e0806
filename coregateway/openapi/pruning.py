"""Components that nothing refers to."""

from typing import Any

from coregateway.openapi.references import is_row, is_table, row, table

type JSON = dict[str, Any]


def prune(paths: JSON, components: JSON) -> None:
    """Leave out components that nothing refers to: the paths that did so are hidden."""
    used: set[tuple[str, str]] = set()
    waiting: list[object] = [paths]
    while waiting:
        thing = waiting.pop()
        if is_row(thing):
            waiting += thing
        elif is_table(thing):
            for key, value in thing.items():
                if key == "$ref" and isinstance(value, str):
                    waiting += _newly_used(value, components, used)
                elif key == "mapping":
                    for each in table(value).values():
                        waiting += _newly_used(str(each), components, used)
                elif key == "security":
                    used |= {("securitySchemes", name) for each in row(value) for name in table(each)}
                elif key not in ("example", "examples", "default"):
                    waiting.append(value)
    for kind in list(components):
        components[kind] = {name: each for name, each in components[kind].items() if (kind, name) in used}
        if not components[kind]:
            del components[kind]


def _newly_used(reference: str, components: JSON, used: set[tuple[str, str]]) -> list[object]:
    match reference.split("/")[1:4]:
        case ["components", kind, name] if (kind, name) not in used:
            used.add((kind, name))
            return [table(components.get(kind)).get(name)]
        case _:
            return []
