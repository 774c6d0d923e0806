"""The oracle of guarded routes can say no: what must not happen, made by hand."""

import pytest

from tests.fuzz.answering import Answering
from tests.fuzz.guarded import Guarded
from tests.fuzz.guarded_oracles import about_guarded
from tests.fuzz.guarding import Guarding, Route
from tests.fuzz.playing import Client, Forwarded
from tests.fuzz.test_oracles import recorded, response

FIELDS = (b"Cookie: session=secret-a", b"X-User: forged", b"X-Auth-Roles: forged,admin")
SAYS = (
    b"HTTP/1.1 200 OK\r\nX-Mark: @@@@@\r\nX-User: alice\r\nX-Groups: admin, ops\r\nX-Consumer: root\r\n"
    b"Content-Length: 0\r\n\r\n"
)
QUESTION = (
    b"GET /check?for=fuzz HTTP/1.1\r\nHost: service\r\nCookie: session=secret-a\r\n"
    b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: gw.test\r\n"
    b"X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /deny/00000?q=secret-\r\nX-Request-ID: id\r\n\r\n"
)
GOT = (
    b"GET /deny/00000?q=secret- HTTP/1.1\r\nHost: b\r\nCookie: session=secret-a\r\nX-Consumer: alice\r\n"
    b"X-Auth-Method: forward.deny\r\nX-Auth-Roles: admin,ops\r\nX-User: alice\r\n\r\n"
)
OWN = b"X-CoreRL-Version: 0\r\nX-Request-ID: id\r\nDate: x\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nX-Fuzz: 1\r\n" + OWN + b"Content-Length: 2\r\n\r\nok"
AFTER = ANSWER.replace(b"X-Fuzz: 1", b"X-Fuzz: 2")
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nX-CoreGateway-Error: auth_unavailable\r\nRetry-After: 1\r\n"
    + OWN
    + b'Content-Length: 14\r\n\r\n{"status":503}'
)
LOGIN = b"HTTP/1.1 302 Found\r\nLocation: /l\r\nSet-Cookie: a=1\r\nContent-Length: 2\r\n\r\nno"
RELAYED = LOGIN.replace(b"Content-Length", OWN + b"Content-Length")


def complaints(
    *answers: bytes,
    says: bytes = SAYS,
    got: bytes = GOT,
    question: bytes = QUESTION,
    after: bytes = AFTER,
    route: Route = "deny",
    sound: bool = True,
) -> list[str]:
    given = Guarding(route, b"GET", FIELDS, Answering(says, sound=sound), sound=True)
    player = Guarded.of(given, 0)
    player.client = Client([response(answer) for answer in answers], follow_up=response(after))
    place = route.encode()
    if question:
        player.questions = [recorded(question.replace(b"/deny/", b"/%b/" % place))]
    forwarded: Forwarded = {2: (0, recorded(b"GET /after/00000 HTTP/1.1\r\nHost: b\r\n\r\n"))}
    if got:
        forwarded[1] = 0, recorded(got.replace(b"/deny/", b"/%b/" % place))
    return [*about_guarded(player, forwarded), *map(str, forwarded)]


def test_what_is_well_gives_no_complaint() -> None:
    failing = SAYS.replace(b"200 OK", b"500 Oh")
    nobody = b"".join(line + b"\r\n" for line in GOT.split(b"\r\n")[:3]) + b"\r\n"
    assert complaints(ANSWER) == []
    assert complaints(RELAYED, says=LOGIN, got=b"") == []
    assert complaints(UNAVAILABLE, says=failing, got=b"") == []
    assert complaints(ANSWER, says=failing, got=nobody, route="lax") == []
    assert complaints(ANSWER, route="roles") == []


@pytest.mark.parametrize(
    ("was", "instead"),
    [
        (b"X-User: alice", b"X-User: forged"),
        (b"X-User: alice", b"X-User: alice\r\nX-User: forged"),
        (b"X-User: alice", b"X-User: alice\r\nx_user: forged"),
        (b"X-User: alice", b"X-User: alice\r\nX-Tenant: forged"),
        (b"X-User: alice\r\n", b""),
        (b"X-Consumer: alice", b"X-Consumer: root"),
        (b"X-Consumer: alice\r\n", b""),
        (b"admin,ops", b"admin"),
        (b"forward.deny", b"key"),
        (b"q=secret-", b"q=other"),
    ],
)
def test_another_request_at_the_backend_is_a_complaint(was: bytes, instead: bytes) -> None:
    assert complaints(ANSWER, got=GOT.replace(was, instead))


@pytest.mark.parametrize(
    ("was", "instead"),
    [
        (b"GET /check", b"POST /check"),
        (b"Cookie: session=secret-a\r\n", b""),
        (b"X-Request-ID: id", b"X-Request-ID: other"),
        (b"X-Request-ID: id", b"X-Request-ID: id\r\nX-User: forged"),
        (b"/deny/00000", b"/forged"),
        (b"gw.test", b"forged"),
        (b"127.0.0.1", b"127.0.0.1\r\nX-Forwarded-For: 1.2.3.4"),
    ],
)
def test_another_question_to_the_service_is_a_complaint(was: bytes, instead: bytes) -> None:
    assert complaints(ANSWER, question=QUESTION.replace(was, instead))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failure_where_the_service_has_answered_is_a_complaint(status: int) -> None:
    assert complaints(UNAVAILABLE.replace(b"503", b"%d" % status), got=b"")
    assert complaints(UNAVAILABLE.replace(b"503", b"%d" % status), says=LOGIN, got=b"")


@pytest.mark.parametrize("says", [SAYS.replace(b"200 OK", b"500 Oh"), SAYS[:-2], LOGIN, b"nonsense"])
@pytest.mark.parametrize("sound", [False, True])
def test_to_admit_what_the_service_does_not_is_a_complaint(says: bytes, *, sound: bool) -> None:
    assert complaints(ANSWER, says=says, sound=sound)


def test_to_admit_for_a_role_that_only_the_client_claims_is_a_complaint() -> None:
    says, got = SAYS.replace(b"admin, ops", b"ops"), GOT.replace(b"admin,ops", b"ops")
    assert complaints(ANSWER, says=says, got=got) == []
    assert complaints(ANSWER, says=says, got=got, route="roles")


def test_a_request_of_which_the_service_was_not_asked_is_a_complaint() -> None:
    assert complaints(ANSWER, question=b"")


def test_a_lax_route_names_nobody_while_the_service_fails() -> None:
    assert complaints(ANSWER, says=SAYS.replace(b"200 OK", b"500 Oh"), route="lax")


@pytest.mark.parametrize(
    ("was", "instead"),
    [
        (b"302", b"307"),
        (b"Set-Cookie: a=1\r\n", b""),
        (b"/l", b"/elsewhere"),
        (b"\r\n\r\nno", b"\r\n\r\nyo"),
        (b"Date: x\r\n", b""),
        (b"Date: x", b"Date: x\r\nX-Stolen: secret-a"),
    ],
)
def test_another_refusal_than_that_of_the_service_is_a_complaint(was: bytes, instead: bytes) -> None:
    assert complaints(RELAYED.replace(was, instead), says=LOGIN, got=b"")


def test_the_answer_of_another_request_after_it_is_a_complaint() -> None:
    assert complaints(ANSWER, after=ANSWER)
