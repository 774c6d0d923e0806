import re
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coregateway.http1.path_safety import is_confined

quick = settings(max_examples=300, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    "path",
    [
        "/p/../x",
        "/p/..",
        "/p/../",
        "/../p",
        "..",
        "/p/x/../y",
        "/p/%2e%2e/x",
        "/p/%2E%2e",
        "/p/.%2e/x",
        "/p/%2E./x",
        "/p/..%2fx",
        "/p/..%2Fx",
        "/p/x%2f..",
        "/p/x%2F%2e%2e%2Fy",
        "/p/..%5cx",
        "/p/..%5Cx",
        "/p/x%5c..",
        "/p/%5c%2e%2e%5c",
        "/p/..;/x",
        "/p/..;",
        "/p/..;a=b/x",
        "/p/%2e%2e;a/x",
        "/p/..%3b/x",
        "/p/..%3Ba",
        "/p/%2e%2e%3b%2fx",
        "/p//../x",
        "/p/..//x",
        "/p/;/../x",
        "/p/;a%2f../x",
        "/p/%zz/../x",
        "/p/%/..",
        "/p\\x",
        "/p/..\\x",
        "/p/\\../x",
        "\\",
        "/p/x%00",
        "/p/..%00/x",
        "/p/..%0a",
        # overlong UTF-8 of two to six bytes, in strict and in lax continuation bytes
        "/p/%c0%ae%c0%ae/x",
        "/p/%C0%AE./x",
        "/p/a%c0%afb",
        "/p/..%C0%AFx",
        "/p/..%c1%9cx",
        "/p/%e0%80%ae%e0%80%ae/x",
        "/p/..%E0%80%AFx",
        "/p/..%e0%81%9cx",
        "/p/%f0%80%80%ae%f0%80%80%ae/x",
        "/p/..%f0%80%80%afx",
        "/p/..%f0%80%81%9cx",
        "/p/%f8%80%80%80%ae./x",
        "/p/%fc%80%80%80%80%ae./x",
        "/p/..%fc%80%80%80%81%9cx",
        "/p/%c0%2e%c0%2e/x",
        "/p/%c0%6e%c0%ee/x",
        "/p/..%c0%2fx",
        "/p/..%c1%1cx",
        "/p/%C0.%C0./x",
        # as IIS spells it
        "/p/%u002e%u002e/x",
        "/p/%u002E./x",
        "/p/%U002e./x",
        "/p/..%u002fx",
        "/p/..%u005Cx",
        "/p/%uff0e%uFF0E/x",
        "/p/..%u2215x",
        "/p/..%u2216x",
        "/p/..%u0020/x",
        "/p/..%u0000",
        "/p/..%ud800/x",
        # as characters that a character set takes for them
        "/p/%ef%bc%8e%ef%bc%8e/x",
        "/p/.%EF%BC%8E/x",
        "/p/..%ef%bc%8fx",
        "/p/..%ef%bc%bcx",
        "/p/x%e2%88%95..",
        # control bytes, blanks and invalid UTF-8, which a backend may drop, or end the path at
        "/p/..%20/x",
        "/p/..%20",
        "/p/%20../x",
        "/p/.%20./x",
        "/p/%2e%20%2e/x",
        "/p/..%20x",
        "/p/..%20;a=b/x",
        "/p/%20%20..%5cx",
        "/p/x%5c..%20%5cy",
        "/p/..%09/x",
        "/p/..%0d%0a/x",
        "/p/%0a../x",
        "/p/.%0d./x",
        "/p/..%0ax",
        "/p/x%0a..",
        "/p/..%1f/x",
        "/p/..%7f/x",
        "/p/..%c2%85/x",
        "/p/..%c2%a0/x",
        "/p/.%e2%80%8b./x",
        "/p/..%e3%80%80/x",
        "/p/%ef%bb%bf../x",
        "/p/..%E4/x",
        "/p/%E4../x",
        "/p/.%E4./x",
        "/p/..%80/x",
        "/p/..%ff%fe/x",
        "/p/..%ed%a0%80/x",
        "/p/.%c3/./x",
    ],
)
def test_a_parent_segment_is_refused_in_whatever_dress(path: str) -> None:
    assert not is_confined(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "/",
        "/p/x",
        "/p/a%2Fb%2f",
        "/p;a=b/x;/;",
        "/p//x//",
        "/p/100%25",
        "/p/%252e%252e%252fx",
        "/p/..%252fx",
        "/p/%%32e%%32e/x",
        "/p/./x/.",
        "/p/.../x",
        "/p/..x/x../a..b/.x.",
        "/p/%2e/x",
        "/p/.;./x",
        "/p/x;..",
        "/p/x;a=..;b=..",
        "/p/%zz/%2/%",
        "/p/caf%C3%A9/x",
        "/p/%E4",
        "/p/stra%DFe/%E4rger.txt",
        "/p/voil%C0/x",
        "/p/a..%E4/x",
        "/p/J.%20R.%20Smith.pdf",
        "/p/Hello..%20World...txt",
        "/p/%20/x%0ay/%7f",
        "/p/x;%20..;a=.%20./y",
        "/p/%u00e9.txt",
        "/p/%u20ac/x..y%u0020z",
        "/p/%u002/%uzzzz/%u",
        "/p/%E3%81%82.%E2%82%AC/%F0%9F%98%80..png",
        "/p/%EF%BC%8E/a%EF%BC%8Fb/%uff0e%uff3c",
        "/p/%ef%bf%bd/x.y",
        "/p/%3f..%23",
    ],
)
def test_what_climbs_nowhere_passes(path: str) -> None:
    assert is_confined(path)


# Backends, as lenient as there are any: each decodes, then cleans, then looks for its segments.


def _percent_decoded(path: bytes) -> bytes:
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes((int(found[1], 16),)), path)


def _iis_decoded(path: bytes) -> bytes:
    def spelt_out(found: re.Match[bytes]) -> bytes:
        return chr(int(found[1], 16)).encode("utf-8", "surrogatepass")

    return _percent_decoded(re.sub(rb"%[uU]([0-9A-Fa-f]{4})", spelt_out, path))


def _lax_utf8(raw: bytes) -> str:
    """Whatever the lead byte announces is taken, however long; what is no sequence is left out."""
    found = ""
    rest = list(raw)
    while rest:
        lead = rest.pop(0)
        more = next((n for n in range(6) if not lead & (0x80 >> (n + 1 if n else 0))), 6)
        if lead >= 0xC0 and len(rest) >= more and all(each & 0xC0 == 0x80 for each in rest[:more]):
            code = lead & (0x3F >> more)
            for each in rest[:more]:
                code = code << 6 | each & 0x3F
            del rest[:more]
            found += chr(code) if code < 0x110000 else ""
        elif lead < 0x80:
            found += chr(lead)
    return found


def _decodings(path: bytes) -> Iterator[str]:
    yield path.decode()
    for decoded in (_percent_decoded(path), _iis_decoded(path)):
        yield decoded.decode("latin-1")
        yield decoded.decode("utf-8", "ignore")
        yield _lax_utf8(decoded)
        yield unicodedata.normalize("NFKC", decoded.decode("utf-8", "ignore"))


def _cleaned(segment: str) -> Iterator[str]:
    """What a segment may be taken for."""
    yield segment
    yield segment.strip()
    yield re.sub(r"[\x00-\x20\x7f]", "", segment)
    yield from re.split(r"[\x00-\x20\x7f]", segment)


def _finds_parent(path: bytes) -> bool:
    cut = [segment.partition(b";")[0] for segment in re.split(rb"[/\\]", path)]
    texts = [text for part in (path, *cut) for text in _decodings(part)]
    names = [re.split(r"[;?#]", segment)[0] for text in texts for segment in re.split(r"[/\\]", text)]
    return any(".." in _cleaned(name) for name in names)


FRAGMENTS = st.sampled_from(
    [
        b"/", b".", b".", b"..", b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b";", b"%3b", b"a", b"%25", b"%",
        b"2e", b"%zz", b"%3f", b"%c3%a9", b"%e2%82%ac",
    ]
)  # fmt: skip
JUNK = st.sampled_from(
    [
        b"%c0%ae", b"%c0%af", b"%c1%9c", b"%e0%80%ae", b"%f0%80%80%af", b"%f8%80%80%80%ae",
        b"%fc%80%80%80%80%ae", b"%u002e", b"%u002F", b"%u0020", b"%uff0e", b"%ef%bc%8e", b"%ef%bc%8f", b"%20",
        b"%09", b"%0a", b"%00", b"%7f", b"%E4", b"%80", b"%ff", b"%c3", b"%c2%a0", b"\\",
    ]
)  # fmt: skip


@quick
@given(st.lists(FRAGMENTS, max_size=9).map(b"".join))
def test_what_is_refused_without_need_is_nothing(rest: bytes) -> None:
    path = b"/p/" + rest
    assert is_confined(path.decode()) is not _finds_parent(path)


@settings(quick, max_examples=1500)
@given(st.lists(st.one_of(FRAGMENTS, FRAGMENTS, JUNK), max_size=7).map(b"".join))
def test_no_order_of_decoding_cleaning_and_splitting_finds_a_parent_segment(rest: bytes) -> None:
    path = b"/p/" + rest
    if _finds_parent(path):
        assert not is_confined(path.decode())
