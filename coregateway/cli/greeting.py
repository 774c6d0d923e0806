"""What the first start of a gateway says at a terminal, where there is no file of settings."""

from coregateway.settings.model import Settings


def greeting(settings: Settings) -> str:
    """Where it listens, what it forwards, and what to do next."""
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(settings.host, settings.host)
    here = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    rows = [
        f"  {here}{backend.prefix}/…  →  {', '.join(str(url) for url in backend.urls)}"
        for backend in settings.backends.values()
    ]
    forwarded = "\n".join(rows) or "  nothing: no backend is enabled"
    operators = (
        f"State, metrics, live page:  http://{settings.admin.address}/\n" if settings.admin.address else ""
    )
    return f"""\
CoreGateway listens on {here} and forwards
{forwarded}

Are the backends there:     curl {here}/health
Their APIs:                 {here}/docs
{operators}Settings of your own:       coregateway init > coregateway.toml, then coregateway check
Without backends:           coregateway demo

The log is on stdout. Ctrl-C drains and ends.

"""
