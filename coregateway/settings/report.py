"""The effective settings for a reader: one a line, as TOML, with the source of each."""

import json
from typing import cast

from coregateway.settings.keys import dotted
from coregateway.settings.loading import Loaded, inherited
from coregateway.settings.model import leaves
from coregateway.settings.upstreams import UpstreamURL


def effective(loaded: Loaded) -> str:
    """Three aligned columns: key, value, source. A backend's node-wide time-out says `as timeouts.read`."""
    rows: list[tuple[str, str, str]] = []
    for key, value in leaves(loaded.settings):
        node_wide = inherited(key)
        borrowed = node_wide is not None and key not in loaded.sources
        source = f"as {dotted(node_wide)}" if node_wide and borrowed else str(loaded.source_of(*key))
        rows.append((dotted(key), _toml(value), source))
    for key, source in loaded.sources.items():
        if key[0] == "backends" and key[1] not in loaded.settings.backends and key[2:] == ("enabled",):
            rows.append((dotted(key), "false", str(source)))
    keys, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    # one long list must not push every source off the screen
    values = min(values, 40)
    return "\n".join(f"{key:<{keys}} = {value:<{values}}  {source}" for key, value, source in rows)


def _toml(value: object) -> str:
    match value:
        case None:
            return '""'
        case UpstreamURL() if value.weight != 1:
            return f"{{ url = {json.dumps(value)}, weight = {value.weight} }}"
        case bool() | int() | float() | str():
            return json.dumps(value)
        case tuple():
            return f"[{', '.join(_toml(item) for item in cast('tuple[object, ...]', value))}]"
        case _:
            return json.dumps(str(value))
