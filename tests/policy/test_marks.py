"""A mark is found out once, and what is kept of keys is bounded."""

from coregateway.policy.marks import Marks


def test_a_mark_is_found_out_once_and_long_keys_are_not_kept() -> None:
    asked: list[bytes] = []

    def mark_of(key: bytes) -> int:
        asked.append(key)
        return len(asked)

    marks = Marks("front ")
    assert [marks.of("k", mark_of), marks.of("k", mark_of)] == [1, 1]
    assert asked == [b"front k"]
    assert [marks.of("k" * 129, mark_of), marks.of("k" * 129, mark_of)] == [2, 3]
    for number in range(5000):
        marks.of(str(number), mark_of)
    assert marks.of("k", mark_of) == len(asked)
