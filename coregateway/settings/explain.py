"""Which live requests are told what becomes of them: the table `[explain]`."""

from ipaddress import ip_network

from coregateway.settings.table import Table
from coregateway.settings.values import Networks, Switch


class ExplainSettings(Table):
    """What a request with `X-CoreGateway-Explain: 1` is told in a field of its response."""

    header: Switch = False
    """True: it gets what `coregateway explain` says of it, in a field of the same name."""
    allow: Networks = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    """Networks of clients that are told; empty: none. Behind a proxy, see forwarding.trusted_proxies."""
