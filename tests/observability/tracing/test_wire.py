"""What is written by hand is what protobuf reads."""

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from coregateway.observability.tracing.wire import delimited, number, text

# About every length at which one of the lengths around it takes a byte more.
SIZES = [*range(300), *range(1000, 1050), *range(16_340, 16_400), 2_097_100, 2_097_152]


@pytest.mark.parametrize("key", ["k", "http.request.method", "k" * 120, "k" * 200])
def test_a_text(key: str) -> None:
    for size in SIZES:
        value = "é" + "v" * size if size else ""
        expected = Span(attributes=[KeyValue(key=key, value=AnyValue(string_value=value))])
        assert text(key.encode(), value.encode()) == expected.SerializeToString()


@pytest.mark.parametrize("value", [0, 1, 127, 128, 200, 1023, 1024, 16_383, 16_384, 99_999, 2**31, 2**63 - 1])
def test_a_number(value: int) -> None:
    expected = Span(attributes=[KeyValue(key="server.port", value=AnyValue(int_value=value))])
    assert number(b"server.port", value) == expected.SerializeToString()


def test_a_field_of_bytes() -> None:
    for size in SIZES:
        if size:
            assert delimited(b"\x1a", b"s" * size) == Span(trace_state="s" * size).SerializeToString()
