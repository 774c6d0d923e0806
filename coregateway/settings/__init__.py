"""Typed settings, their four sources, and every mistake in them at once."""

from coregateway.settings.model import BackendSettings, Settings, TimeoutSettings

__all__ = ["BackendSettings", "Settings", "TimeoutSettings"]
