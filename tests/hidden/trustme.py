"""Not there, for the processes that tests start: Sanic imports trustme where it can, which takes a tenth of a
second and 10 MiB of each, and no gateway needs it."""

raise ImportError
