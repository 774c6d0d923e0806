"""Not there, for the processes that tests start: httpx has a command by it, and no gateway needs it."""

raise ModuleNotFoundError
