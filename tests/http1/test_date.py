"""The date of a response: right, and written once a second."""

from coregateway.http1.date import Date

EXAMPLE = 784_111_777
"""Of RFC 9110 §5.6.7."""


def test_a_date_is_written_as_rfc_9110_wants_it() -> None:
    date = Date(lambda: EXAMPLE + 0.9)
    assert date.text() == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert date.line() == b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


def test_it_is_that_of_the_second_in_which_it_is_asked_for() -> None:
    times = [EXAMPLE + 0.2, EXAMPLE + 0.9, EXAMPLE + 1.0, EXAMPLE + 3600.0, EXAMPLE - 1.0]
    date = Date(iter(times).__next__)
    assert [date.text()[-12:-4] for _ in times] == [
        "08:49:37",
        "08:49:37",
        "08:49:38",
        "09:49:37",
        "08:49:36",
    ]


def test_within_a_second_it_is_the_same_text() -> None:
    date = Date(lambda: EXAMPLE + 0.5)
    assert date.line() is date.line()
    assert date.text() is date.text()
