"""TLS apart from sockets: what one side seals the other reads, whatever its pieces and whatever else passes
through the same buffers meanwhile."""

import ssl

import pytest

from coregateway.net.tls_codec import TlsBuffers, TlsCodec
from coregateway.net.tls_contexts import client_context, client_tls
from tests import certificates


class Ends:
    """A connection's two ends, without a network; those of several may share their buffers."""

    def __init__(self, buffers: TlsBuffers | None = None) -> None:
        buffers = buffers or TlsBuffers()
        context = client_context(client_tls(certificates.ca_file(), "", "", "", True))
        self.client = TlsCodec(context, buffers, "127.0.0.1")
        self.server = TlsCodec(certificates.serving(certificates.issued("127.0.0.1")), buffers)

    def shake_hands(self, piece: int = 1 << 16) -> bytes:
        """What the client gets besides."""
        self.client.receive(b"")
        content = b""
        while self.client.to_send or self.server.to_send:
            for sender, receiver in ((self.client, self.server), (self.server, self.client)):
                data, sender.to_send = sender.to_send, b""
                for at in range(0, len(data), piece):
                    content += receiver.receive(data[at : at + piece])
        return content


@pytest.fixture
def ends() -> Ends:
    ends = Ends()
    ends.shake_hands()
    return ends


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_a_handshake_comes_in_pieces_of_any_size(piece: int) -> None:
    ends = Ends()
    assert ends.shake_hands(piece) == b""
    assert ends.client.established
    assert ends.server.established


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 16_385, 300_000])
@pytest.mark.parametrize("piece", [5, 1000, 1 << 20])
def test_what_is_sealed_is_read_whatever_its_pieces(ends: Ends, size: int, piece: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[: min(size, 2000 * piece)]
    sealed = ends.client.seal(content)
    read = [ends.server.receive(sealed[at : at + piece]) for at in range(0, len(sealed), piece)]
    assert b"".join(read) == content
    assert ends.server.is_settled


def test_connections_that_share_buffers_share_nothing_else() -> None:
    buffers = TlsBuffers()
    one, other = Ends(buffers), Ends(buffers)
    one.client.receive(b"")
    other.shake_hands()
    one.shake_hands()
    first, second = one.client.seal(b"first"), other.client.seal(b"second")
    assert one.server.receive(first[:9]) == b""
    assert other.server.receive(second[:20]) == b""
    assert one.server.receive(first[9:]) == b"first"
    assert other.server.receive(second[20:]) == b"second"
    assert not buffers.incoming.pending
    assert not buffers.outgoing.pending


def test_what_is_broken_leaves_nothing_in_the_shared_buffers() -> None:
    buffers = TlsBuffers()
    one, other = Ends(buffers), Ends(buffers)
    one.shake_hands()
    other.shake_hands()
    sealed = bytearray(one.client.seal(b"secret"))
    sealed[-1] ^= 1
    assert one.server.receive(bytes(sealed) + b"\x17\x03\x03 and more") == b""
    assert isinstance(one.server.error, ssl.SSLError)
    assert one.server.to_send  # the alert, for the peer alone
    assert not buffers.incoming.pending
    assert not buffers.outgoing.pending
    assert other.server.receive(other.client.seal(b"ok")) == b"ok"


def test_content_before_what_is_broken_is_read(ends: Ends) -> None:
    whole, broken = ends.client.seal(b"whole"), bytearray(ends.client.seal(b"broken"))
    broken[-1] ^= 1
    assert ends.server.receive(whole + broken) == b"whole"
    assert ends.server.error is not None


@pytest.mark.parametrize("cut", [1, 4, 5, 6, 20])
def test_a_part_of_a_record_is_known_to_be_one(ends: Ends, cut: int) -> None:
    first, second = ends.client.seal(b"first"), ends.client.seal(b"second")
    assert ends.server.receive(first + second[:cut]) == b"first"
    assert not ends.server.is_settled
    assert ends.server.receive(second[cut:]) == b"second"
    assert ends.server.is_settled


def test_tickets_are_no_part_of_anything() -> None:
    ends = Ends()
    ends.shake_hands()  # with TLS 1.3 the last that the client gets are tickets
    assert ends.client.is_settled


def test_the_end_is_told_and_nothing_behind_it_is_read(ends: Ends) -> None:
    last = ends.client.seal(b"last")
    assert ends.server.receive(last + ends.client.end() + b"behind") == b"last"
    assert ends.server.ended
    assert ends.server.error is None


def test_each_side_ends_by_itself(ends: Ends) -> None:
    ends.server.receive(ends.client.end())
    assert ends.client.receive(ends.server.seal(b"still here")) == b"still here"
    assert ends.client.receive(ends.server.end()) == b""
    assert ends.client.ended


def test_no_end_is_sent_in_a_handshake() -> None:
    ends = Ends()
    assert ends.server.end() == b""
    assert ends.client.end() == b""
