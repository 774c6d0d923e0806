"""Where the project lives, told by who publishes it: the sources name no place, for they may have moved.

`PROJECT_URL=https://… python -m build` puts it into the metadata, with the pages that lie below it.
"""

import os
from typing import Any, override

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAGES = {"Documentation": "docs", "Changelog": "CHANGELOG.md", "Security": "SECURITY.md"}
"""Below the address of the sources."""


class Urls(MetadataHookInterface):
    """Raises ValueError: what was told is no address of the web."""

    @override
    def update(self, metadata: dict[str, Any]) -> None:
        home = os.environ.get("PROJECT_URL", "").rstrip("/")
        if not home:
            return
        if not home.startswith(("https://", "http://")):
            raise ValueError(f"PROJECT_URL is no address of the web: {home}")
        metadata["urls"] = {"Homepage": home} | {
            name: f"{home}/blob/main/{path}" for name, path in PAGES.items()
        }
