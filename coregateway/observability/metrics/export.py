"""Ready to use elsewhere: a Grafana dashboard and Prometheus alert rules that know the metrics of `families`.

coregateway export grafana > coregateway.json
coregateway export alerts > coregateway.rules.yaml
"""

from importlib.resources import files
from typing import Any

import orjson

from coregateway.observability.metrics.panels import ROWS, Panel

_WIDTH, _HEIGHT, _COLUMNS = 8, 7, 3


def grafana() -> str:
    """The dashboard, as JSON that Grafana (10 and later) imports. It asks for its data source."""
    return orjson.dumps(_dashboard(), option=orjson.OPT_INDENT_2).decode() + "\n"


def alerts() -> str:
    """The alert rules, as YAML for a `rule_files` entry of Prometheus."""
    return files("coregateway.observability.metrics").joinpath("alerts.yaml").read_text("utf-8")


EXPORTS = {"grafana": grafana, "alerts": alerts}
"""By the word that `coregateway export` takes."""


def _dashboard() -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        place = {"x": 0, "y": y, "w": _WIDTH * _COLUMNS, "h": 1}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place}
        )
        y += 1
        for number, panel in enumerate(row):
            down, across = divmod(number, _COLUMNS)
            place = {"x": across * _WIDTH, "y": y + down * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
            panels.append(_plot(panel, len(panels) + 1, place))
        y += -(-len(row) // _COLUMNS) * _HEIGHT
    return {
        "title": "CoreGateway",
        "uid": "coregateway",
        "tags": ["coregateway"],
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "templating": {"list": _VARIABLES},
        "panels": panels,
    }


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

_VARIABLES: list[dict[str, Any]] = [
    {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
    {
        "name": "backend",
        "label": "Backend",
        "type": "query",
        "datasource": _SOURCE,
        "query": "label_values(coregateway_request_duration_seconds_count, backend)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    },
]


def _plot(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": {"fillOpacity": 8, "showPoints": "never"}},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(panel.targets)
        ],
    }
