"""Tracing needs the extra "otel", and says so before anything starts."""

import sys
from pathlib import Path

import pytest

from tests.node.running_node import ROOT
from tests.running_command import RunningCommand


@pytest.mark.parametrize("arguments", [("-m", "coregateway", "run"), ("-m", "sanic", "coregateway.app")])
def test_without_the_extra_nothing_starts(arguments: tuple[str, ...], tmp_path: Path) -> None:
    hidden = tmp_path / "opentelemetry"
    hidden.mkdir()
    (hidden / "__init__.py").touch()  # hides the real one, a namespace package
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "COREGATEWAY_TRACING__ENABLED": "true"}
    with RunningCommand([sys.executable, *arguments], env=env) as command:
        assert command.wait() == 2
        assert command.stderr == (
            "coregateway: 1 mistake in the settings\n"
            "  COREGATEWAY_TRACING__ENABLED: expected false while OpenTelemetry is not installed, "
            "found true; pip install 'coregateway[otel]'\n"
        )
