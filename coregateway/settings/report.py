"""The effective settings for a reader: one a line, as TOML, with the source of each."""

import json
from collections.abc import Iterator
from typing import cast

from coregateway.net.tls_server import Pair
from coregateway.settings.keys import PLUGIN, dotted, is_of_plugin, is_secret, within_row
from coregateway.settings.loading import Loaded, inherited
from coregateway.settings.mistakes import without_credentials
from coregateway.settings.model import KeyPath, leaves
from coregateway.settings.plugins import is_secret as is_secret_of_plugin
from coregateway.settings.plugins import module_of, resolve, settings_of
from coregateway.settings.upstreams import UpstreamURL


def effective(loaded: Loaded) -> str:
    """Three aligned columns: key, value, source. A backend's node-wide time-out says `as timeouts.read`."""
    rows: list[tuple[str, str, str]] = []
    given = [row for row in leaves(loaded.settings) if not is_of_plugin(row[0])]
    for key, value in [*given, *_of_plugins(loaded)]:
        if key[0] == "routes" and key not in loaded.sources:
            continue  # most of the many keys of a route are not given
        node_wide = inherited(key)
        borrowed = node_wide is not None and key not in loaded.sources
        source = f"as {dotted(node_wide)}" if node_wide and borrowed else str(loaded.source_of(*key))
        rows.append((dotted(key), _shown(key, value), source))
    for key, source in loaded.sources.items():
        if within_row(key) == ("enabled",) and key[1] not in vars(loaded.settings)[key[0]]:
            rows.append((dotted(key), "false", str(source)))
    keys, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    # one long list must not push every source off the screen
    values = min(values, 40)
    return "\n".join(f"{key:<{keys}} = {value:<{values}}  {source}" for key, value, source in rows)


def _of_plugins(loaded: Loaded) -> Iterator[tuple[KeyPath, object]]:
    """The settings of plugins as their models read them, defaults included."""
    settings = loaded.settings
    plugins, _ = resolve(settings.plugins, settings.plugin, dotted)
    for plugin in plugins:
        for name, value in settings_of(plugin).items():
            yield (*PLUGIN, module_of(plugin.name), name), "***" if is_secret_of_plugin(name) else value


def _shown(key: KeyPath, value: object) -> str:
    if is_secret(key):
        return _hidden(value)
    if key == ("store", "url"):
        return _toml(without_credentials(str(value)))
    return _toml(value)


def _hidden(value: object) -> str:
    """Of a secret no more than how many there are."""
    return _toml(("***",) * len(cast("tuple[object, ...]", value)))


def _toml(value: object) -> str:
    match value:
        case None:
            return '""'
        case UpstreamURL() if value.weight != 1:
            return f"{{ url = {json.dumps(value)}, weight = {value.weight} }}"
        case bool() | int() | float() | str():
            return json.dumps(value)
        case Pair(cert, key):
            return f"{{ cert = {json.dumps(cert)}, key = {json.dumps(key)} }}"
        case dict():
            items = cast("dict[str, object]", value).items()
            return f"{{ {', '.join(f'{dotted((name,))} = {_toml(item)}' for name, item in items)} }}"
        case tuple():
            return f"[{', '.join(_toml(item) for item in cast('tuple[object, ...]', value))}]"
        case _:
            return json.dumps(str(value))
