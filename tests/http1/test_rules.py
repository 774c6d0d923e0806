"""Which rule a request breaks: by a table, over the corpus, and never in words that a client has chosen."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.downstream.body import RequestBody
from coregateway.downstream.head_search import HeadSearch
from coregateway.http1 import rules
from coregateway.http1.grammar import END, TooManyFields
from coregateway.http1.path_safety import is_confined
from coregateway.http1.request import RequestHead
from coregateway.http1.rules import RULES, BrokenRule, Rule
from coregateway.model.errors import GatewayError
from tests.corpus.cases import Case, read_cases

MAX_HEAD, MAX_BODY = 16_384, 104_857_600

CASES = {case.id: case for case in read_cases()}


def broken_rule(data: bytes) -> Rule | None:
    """The rule that the first of the requests in `data` breaks which breaks one, each checked as it comes."""
    while data:
        search = HeadSearch(MAX_HEAD)
        data = search.trim(data)
        try:
            if (end := search.find(data)) < 0:
                return None
            head = RequestHead(data[:end])
            data = data[end + len(END) :]
            if head.length and data:
                body = RequestBody(head.length, MAX_BODY)
                body.feed(data)
                data = body.surplus
        except TooManyFields:
            return rules.FIELDS
        except BrokenRule as error:
            return error.rule
        except GatewayError as error:
            return error.rule
        if not is_confined(head.path):
            return rules.PATH
    return None


TABLE = {
    "te-bare-cr": rules.BARE_CR,
    "ln-crcrlf-end": rules.BARE_CR,
    "own-line-cr": rules.BARE_CR,
    "ln-bare-lf-all": rules.BARE_LF,
    "own-line-bare-lf": rules.BARE_LF,
    "own-line-lf-first": rules.BARE_LF,
    "cl-nul": rules.NUL,
    "own-version-16": rules.NUL,
    "own-line-nul-name": rules.NUL,
    "rl-garbage": rules.TLS,
    "rl-no-version": rules.REQUEST_LINE,
    "own-line-double-space": rules.REQUEST_LINE,
    "own-line-only-method": rules.REQUEST_LINE,
    "own-not-a-method-03": rules.METHOD,
    "own-not-a-method-13": rules.METHOD,
    "own-line-bom": rules.METHOD,
    "own-line-space-in-target": rules.TARGET_BYTE,
    "tg-highbyte": rules.TARGET_BYTE,
    "own-target-fragment": rules.TARGET_BYTE,
    "tg-colon-port": rules.TARGET_FORM,
    "own-get-star": rules.TARGET_FORM,
    "own-target-absolute-ftp": rules.TARGET_FORM,
    "tg-absolute-internal": rules.TARGET_HOST,
    "own-target-absolute-userinfo": rules.TARGET_HOST,
    "rl-h2-preface": rules.VERSION,
    "own-version-06": rules.VERSION,
    "rl-v-junk": rules.VERSION,
    "own-dots-escaped": rules.PATH,
    "own-target-backslash": rules.PATH,
    "pt-semicolon": rules.PATH,
    "ln-first-ws": rules.FOLDED,
    "own-line-fold-tab": rules.FOLDED,
    "ho-fold": rules.FOLDED,
    "own-line-no-colon": rules.NO_COLON,
    "own-line-request-line-again": rules.NO_COLON,
    "own-line-empty-name": rules.NO_NAME,
    "own-line-space-colon": rules.NAME_SPACE,
    "cl-tab-colon": rules.NAME_SPACE,
    "own-line-space-name": rules.NAME_SPACE,
    "ln-highbyte-name": rules.NAME_BYTE,
    "own-line-slash-name": rules.NAME_BYTE,
    "ln-ctl-name": rules.NAME_BYTE,
    "cl-vt": rules.VALUE_BYTE,
    "ln-del-value": rules.VALUE_BYTE,
    "own-line-esc-value": rules.VALUE_BYTE,
    "own-host-missing": rules.NO_HOST,
    "own-target-absolute-no-host": rules.NO_HOST,
    "ho-comma": rules.HOST,
    "own-host-userinfo": rules.HOST,
    "own-host-ipv6-junk": rules.HOST,
    "ho-dup-same": rules.TWO_HOSTS,
    "own-host-two-case": rules.TWO_HOSTS,
    "cl-octal": rules.LENGTH,
    "own-cl-minus": rules.LENGTH,
    "own-cl-list-differ": rules.LENGTH,
    "own-cl-differ": rules.TWO_LENGTHS,
    "cl-dup-zero-first": rules.TWO_LENGTHS,
    "own-cl-differ-case": rules.TWO_LENGTHS,
    "te-identity": rules.CODING,
    "own-te-gzip-chunked": rules.CODING,
    "te-empty": rules.CODING,
    "own-te-two-lines": rules.TWO_CODINGS,
    "own-10-chunked": rules.CODING_IN_1_0,
    "tecl-smuggle": rules.LENGTH_AND_CODING,
    "own-clte-te-first": rules.LENGTH_AND_CODING,
    "own-clte-empty-te": rules.LENGTH_AND_CODING,
    "fw-authz-dup": rules.TWO_AUTHORIZATIONS,
    "own-maxfwd-junk": rules.MAX_FORWARDS,
    "ch-minus": rules.CHUNK_SIZE,
    "own-ch-crlf-first": rules.CHUNK_SIZE,
    "own-ch-lf-size": rules.CHUNK_SIZE,
    "ch-ext-cr": rules.CHUNK_EXTENSION,
    "own-ch-ext-20k": rules.CHUNK_EXTENSION,
    "own-ch-ext-lf": rules.CHUNK_EXTENSION,
    "own-ch-data-longer": rules.CHUNK_END,
    "ch-data-noterm": rules.CHUNK_END,
    "own-ch-lf-data": rules.CHUNK_END,
    "own-trailer-no-colon": rules.TRAILER,
    "ch-trailer-lf": rules.TRAILER,
    "own-trailer-fold": rules.TRAILER,
    "own-trailer-20k": rules.TRAILER_SIZE,
    "own-trailer-2000": rules.TRAILER_SIZE,
    "own-lim-empty-headers": rules.FIELDS,
}


@pytest.mark.parametrize(("name", "rule"), TABLE.items())
def test_a_case_is_refused_by_the_rule_that_it_breaks(name: str, rule: Rule) -> None:
    assert broken_rule(CASES[name].raw.encode("latin-1")) is rule


def test_every_rule_has_a_case() -> None:
    """But for those that depend on the routes of a gateway, and on its port."""
    assert set(TABLE.values()) == set(RULES) - {rules.ROUTE, rules.NO_TLS}


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.id) for case in CASES.values() if case.expect == "400"]
)
def test_whatever_is_answered_with_400_breaks_a_rule(case: Case) -> None:
    assert broken_rule(case.raw.encode("latin-1")) in RULES


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lim-uri-20k", "a request line of more than 16384 bytes"),
        ("own-lim-endless-line", "a request line of more than 16384 bytes"),
        ("lim-header-20k", "a request head of more than 16384 bytes"),
        ("own-lim-endless-name", "a request head of more than 16384 bytes"),
        ("own-lim-total-20k", "a request head of more than 16384 bytes"),
        ("own-lim-empty-headers", "more than 128 header fields"),
    ],
)
def test_a_limit_is_named(name: str, words: str) -> None:
    rule = broken_rule(CASES[name].raw.encode("latin-1"))
    assert rule is not None
    assert rule.words == words


def test_no_two_rules_share_a_token_or_words() -> None:
    assert len({rule.token for rule in RULES}) == len({rule.words for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.token)
def test_a_token_is_fit_for_a_label_and_words_for_the_end_of_a_sentence(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9_]{3,24}", rule.token)
    assert re.fullmatch(r"[A-Za-z0-9 ,./\[\]-]{5,70}[A-Za-z0-9]", rule.words)


SOUND = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"


@settings(max_examples=2000, deadline=None, derandomize=True)
@given(at=st.integers(0, len(SOUND)), taken=st.integers(0, 3), put=st.binary(min_size=1, max_size=40))
def test_whatever_bytes_come_the_rule_is_one_of_the_list(at: int, taken: int, put: bytes) -> None:
    rule = broken_rule(SOUND[:at] + put + SOUND[at + taken :])
    assert rule is None or rule in RULES
