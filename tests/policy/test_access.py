from ipaddress import ip_address, ip_network
from random import Random

import pytest

from coregateway.policy.access import Access, access_of

NO_NETWORKS: list[str] = []


def access(allow: list[str], deny: list[str] = NO_NETWORKS) -> Access:
    found = access_of([ip_network(each) for each in allow], [ip_network(each) for each in deny])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("allow", "deny", "client", "admitted"),
    [
        (["10.0.0.0/8"], [], "10.1.2.3", True),
        (["10.0.0.0/8"], [], "10.0.0.0", True),
        (["10.0.0.0/8"], [], "10.255.255.255", True),
        (["10.0.0.0/8"], [], "11.0.0.0", False),
        (["10.0.0.0/8"], [], "9.255.255.255", False),
        (["10.0.0.0/8"], ["10.1.0.0/16"], "10.1.2.3", False),
        (["10.0.0.0/8"], ["10.1.0.0/16"], "10.2.2.3", True),
        (["10.1.2.3/32"], ["10.0.0.0/8"], "10.1.2.3", False),
        ([], ["192.0.2.0/24"], "192.0.2.9", False),
        ([], ["192.0.2.0/24"], "192.0.3.9", True),
        ([], ["192.0.2.0/24"], "2001:db8::1", True),
        (["0.0.0.0/0"], [], "2001:db8::1", False),
        (["::/0"], [], "192.0.2.9", False),
        (["2001:db8::/32"], [], "2001:db8:ffff::1", True),
        (["2001:db8::/32"], [], "2001:db9::", False),
        # one spelling of IPv4, whichever the settings or the peer has
        (["::ffff:10.0.0.0/104"], [], "10.1.2.3", True),
        (["10.0.0.0/8"], [], "::ffff:10.1.2.3", True),
        ([], ["10.0.0.0/8"], "::ffff:10.1.2.3", False),
        # neighbours and parts of one another
        (["10.0.0.0/25", "10.0.0.128/25", "10.0.0.7/32"], [], "10.0.0.200", True),
        (["10.0.0.0/25", "10.0.2.0/24"], [], "10.0.1.0", False),
        # what is no address
        (["0.0.0.0/0", "::/0"], [], "", False),
        ([], ["10.0.0.0/8"], "unix", False),
    ],
)
def test_a_client_is_admitted_by_its_network_and_deny_wins(
    allow: list[str], deny: list[str], client: str, admitted: bool
) -> None:
    found = access(allow, deny)
    assert found.admits(client) is admitted
    assert found.admits(client) is admitted  # from what it remembers


def test_no_lists_admit_everybody() -> None:
    assert access_of([], []) is None


def test_many_networks_say_what_a_look_at_each_says() -> None:
    random = Random(7)
    networks = {
        str(ip_network((random.getrandbits(32) & 0xFFFF0FFF, random.randint(4, 32)), strict=False))
        for _ in range(60)
    }
    found = access(sorted(networks))
    whole = [ip_network(each) for each in networks]
    clients = [str(ip_address(random.getrandbits(32))) for _ in range(500)]
    clients += [str(each.network_address) for each in whole] + [str(each.broadcast_address) for each in whole]
    verdicts = [found.admits(client) for client in clients]
    assert verdicts == [any(ip_address(client) in each for each in whole) for client in clients]
    assert {True, False} <= set(verdicts)
