"""Between which upstreams requests are balanced: by how they stand, in tiers."""

import pytest

from coregateway.upstream.tiers import DRAINED, EJECTED, UNFIT, USABLE, open_tier

LETTERS = {"u": USABLE, "e": EJECTED, "f": UNFIT, "d": DRAINED}


@pytest.mark.parametrize(
    ("standings", "weights", "tier"),
    [
        ("", "", -1),
        ("u", "1", USABLE),
        ("e", "1", EJECTED),
        ("f", "1", UNFIT),
        ("d", "1", -1),
        ("dd", "11", -1),
        ("uu", "11", USABLE),
        # half of the weight is enough
        ("ue", "11", USABLE),
        ("uuee", "1111", USABLE),
        ("uf", "11", USABLE),
        # with less than half, ejected ones are used again
        ("uee", "111", EJECTED),
        ("ue", "12", EJECTED),
        ("ue", "21", USABLE),
        ("eee", "111", EJECTED),
        # the unfit are not, while anything is left
        ("uff", "111", EJECTED),
        ("uef", "111", EJECTED),
        ("eff", "111", EJECTED),
        ("ff", "11", UNFIT),
        # what was drained does not count at all
        ("udd", "111", USABLE),
        ("edd", "111", EJECTED),
        ("fdd", "111", UNFIT),
        ("ued", "119", USABLE),
    ],
)
def test_the_worst_standing_that_gets_requests(standings: str, weights: str, tier: int) -> None:
    assert open_tier([LETTERS[each] for each in standings], [int(each) for each in weights]) == tier
