"""Not there, for the processes that tests start: sanic-ext has more by it, and no gateway needs it."""

raise ModuleNotFoundError
