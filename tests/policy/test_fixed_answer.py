from coregateway.policy.fixed_answer import FixedAnswer


def test_an_answer_tells_the_type_of_its_body_and_when_to_come_back() -> None:
    answer = FixedAnswer(503, "Zu spät", "text/plain", 300)
    assert answer.body == "Zu spät".encode()
    assert answer.fields == b"Content-Type: text/plain\r\nRetry-After: 300\r\n"


def test_an_answer_without_a_body_has_no_type() -> None:
    assert FixedAnswer(200, "", "text/plain", 0).fields == b""


def test_an_answer_whose_status_has_no_body_has_none() -> None:
    for status in (204, 205, 304):
        answer = FixedAnswer(status, "body", "text/plain", 0)
        assert (answer.body, answer.fields) == (b"", b"")
