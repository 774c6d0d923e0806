"""The project's addresses in the metadata of a wheel or sdist.

The sources name none, as copies of them live in several places. The environment of the build gives it:
`PROJECT_URL=https://…`. The metadata then has that address, and those of the pages below it.
"""

import os
from typing import Any, override

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAGES = {"Documentation": "docs", "Changelog": "CHANGELOG.md", "Security": "SECURITY.md"}
"""Below `PROJECT_URL`, for a host of repositories that shows files at `blob/main`."""


class Urls(MetadataHookInterface):
    """The metadata's table `urls`."""

    @override
    def update(self, metadata: dict[str, Any]) -> None:
        """Fill it. Raises ValueError: `PROJECT_URL` is no address of the web."""
        home = os.environ.get("PROJECT_URL", "").rstrip("/")
        if not home:
            return
        if not home.startswith(("https://", "http://")):
            raise ValueError(f"PROJECT_URL is no address of the web: {home}")
        metadata["urls"] = {"Homepage": home} | {
            name: f"{home}/blob/main/{path}" for name, path in PAGES.items()
        }
