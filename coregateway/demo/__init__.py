"""The demo: two backends that speak the real services' APIs with state in memory, behind the gateway.

`showing` runs all of it; `coredinator` and `coretelemetry` are the backends, each a process of its own.
"""
