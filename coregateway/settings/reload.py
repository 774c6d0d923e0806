"""How a node that runs gets new settings: the table `[reload]`."""

from coregateway.settings.table import Table
from coregateway.settings.values import Pause


class ReloadSettings(Table):
    watch: Pause = 0.0
    """Seconds between two looks at the content of the file; 0: it is read again only when asked."""
