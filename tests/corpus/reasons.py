"""Does an answer that refuses a request say why, in words of the gateway's own?"""

import json

from coregateway.http1.rules import RULES, body_size, head_size, request_line_size
from coregateway.testing import Response

_CAUSES = (b"bad_request", b"body_too_large", b"uri_too_long", b"head_too_large")
_MAX_HEAD, _MAX_BODY = 16_384, 104_857_600  # the settings' defaults
_WORDS = frozenset(
    rule.words for rule in (*RULES, body_size(_MAX_BODY), request_line_size(_MAX_HEAD), head_size(_MAX_HEAD))
)


def fault_of_reason(answer: Response) -> str | None:
    """What is wrong with the `detail` of a refusal; None also for every other answer."""
    if answer.header("x-coregateway-error") not in _CAUSES or not answer.body:
        return None
    detail: str = json.loads(answer.body)["detail"]
    return None if detail.partition(": ")[2] in _WORDS else f"refused for no rule of the list: {detail!r}"
