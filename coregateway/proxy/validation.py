"""The step of admission that holds requests against the documents of their backends.

It comes behind the request middleware, and behind the choice among several backends: it sees what the backend
would get. A body of JSON is kept until all of it has come, up to `max_body`, and is forwarded then; of other
bodies nothing is kept. Where requests are only reported, they pass whatever is wrong with them.
"""

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final

from coregateway.http1.request import RequestHead
from coregateway.logs.events import event
from coregateway.model.errors import GatewayError
from coregateway.model.refusals import MediaTypeUnknown, NoOperation, SchemaMismatch
from coregateway.proxy.admission import Refusal
from coregateway.proxy.amendment import obey_connection
from coregateway.proxy.client import Client
from coregateway.proxy.route import Forwarding
from coregateway.proxy.validators import Validators

if TYPE_CHECKING:
    from coregateway.validation.checks import OperationCheck
    from coregateway.validation.mismatches import Mismatch

OK: Final = "ok"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"

ENFORCE: Final = "enforce"

MOST_NAME: Final = 200
"""Characters of an operation in the log."""

UNKNOWN: Final = "no operation"


class Validation:
    """See the module; of one route. `policy` is what `explain` calls it."""

    __slots__ = ("_enforces", "_most", "_rejects_unknown", "_validators", "mode", "policy")

    def __init__(self, validators: Validators, mode: str, max_body: int, *, rejects_unknown: bool) -> None:
        """`max_body`: bytes of a body that is looked into."""
        self._validators = validators
        self._most = max_body
        self._rejects_unknown = rejects_unknown
        self._enforces = mode == ENFORCE
        self.mode = mode
        self.policy = "validation"

    def check(self, client: Client, head: RequestHead) -> Refusal | Awaitable[Refusal | None] | None:
        """A `Step`. A defect of the check itself lets a request pass, and is told."""
        try:
            return self._check(client, head)
        except GatewayError:
            raise
        except Exception as error:
            event("validation.failed", level="ERROR", exception=error)
            return None

    def _check(self, client: Client, head: RequestHead) -> Refusal | Awaitable[Refusal | None] | None:
        exchange = client.exchange
        forwarding = client.forwarding
        if exchange is None or forwarding is None:
            return None
        exchange.validation_mode = self.mode
        exchange.validation = SKIPPED
        backend = forwarding.backend.name
        checks = self._validators.of(backend)
        if checks is None:
            return None
        target = forwarding.outbound.rewriting.inside(head.target)
        path = target.partition(b"?")[0]
        found = checks.find(head.method, path.decode("latin-1"))
        if found is None:
            # The document may know its paths by the URL of the upstream, which has one itself.
            bases = {endpoint.base for endpoint in forwarding.backend.pool.endpoints}
            for base in bases:
                if base and found is None:
                    found = checks.find(head.method, (base + path).decode("latin-1"))
        if found is None:
            # Permissions of browsers are asked for by OPTIONS, which documents seldom have.
            if not self._rejects_unknown or head.method == "OPTIONS":
                return None
            return self._fail(client, UNKNOWN, [""], NoOperation())
        check, operation = found
        if check.unchecked:
            if not check.is_told:
                check.is_told = True
                event(
                    "validation.operation_unchecked",
                    level="WARNING",
                    backend=backend,
                    operation=check.name[:MOST_NAME],
                    reason=check.unchecked,
                )
            return None
        if check.has_parameters:
            fields = fields_of(client, head, forwarding, check.fields)
            mismatches = check.judge_parameters(operation.values, target, fields)
            if mismatches:
                return self._mismatch(client, check, mismatches)
        if not head.length:
            return self._judge(client, check, check.missing_body())
        content = fields_of(client, head, forwarding, OF_CONTENT)
        media_type = content.get("content-type", [""])[-1].partition(";")[0].strip(" \t").lower()
        coded = "content-encoding" in content
        if not check.takes(media_type):
            return self._fail(client, check.name, ["content-type"], MediaTypeUnknown())
        if head.length > self._most or not check.checks_body(media_type):
            return None
        if client.has_whole_request():
            body = client.take_body()
            client.return_body(body)
            return self._judge_body(client, check, media_type, body, coded=coded)
        return self._wait(client, forwarding, check, media_type, coded=coded)

    async def _wait(
        self,
        client: Client,
        forwarding: Forwarding,
        check: "OperationCheck",
        media_type: str,
        *,
        coded: bool,
    ) -> Refusal | None:
        """Judge a body whose rest is still to come."""
        client.patience = forwarding.client_timeout
        pieces = [client.take_body()]
        size = len(pieces[0])
        while size <= self._most and (piece := await client.read_body()) is not None:
            pieces.append(piece)
            size += len(piece)
        body = b"".join(pieces)
        client.return_body(body)
        if size > self._most:
            return None
        try:
            return self._judge_body(client, check, media_type, body, coded=coded)
        except Exception as error:
            event("validation.failed", level="ERROR", exception=error)
            return None

    def _judge_body(
        self, client: Client, check: "OperationCheck", media_type: str, body: bytes, *, coded: bool
    ) -> Refusal | None:
        """`coded`: the body may be compressed, which only the backend undoes; then it is no JSON here."""
        if len(body) > self._most or (coded and not check.can_read(body)):
            return None
        return self._judge(client, check, check.body_mismatches(media_type, body))

    def _judge(
        self, client: Client, check: "OperationCheck", mismatches: "Sequence[Mismatch]"
    ) -> Refusal | None:
        if mismatches:
            return self._mismatch(client, check, mismatches)
        if client.exchange is not None:
            client.exchange.validation = OK
        return None

    def _mismatch(
        self, client: Client, check: "OperationCheck", mismatches: "Sequence[Mismatch]"
    ) -> Refusal | None:
        errors = tuple([(each.where, each.at, each.message) for each in mismatches])
        places = dict.fromkeys([f"{each.where} {each.kind}".rstrip() for each in mismatches])
        return self._fail(client, check.name, [*places], SchemaMismatch(errors))

    def _fail(
        self, client: Client, operation: str, places: Sequence[str], error: GatewayError
    ) -> Refusal | None:
        if client.exchange is not None:
            client.exchange.validation = FAILED
        if client.forwarding is not None:
            self._validators.count(client.forwarding.backend.name, operation, places)
        return Refusal(error=error) if self._enforces else None


OF_CONTENT: Final = frozenset(("content-encoding", "content-type"))


def fields_of(
    client: Client, head: RequestHead, forwarding: Forwarding, names: frozenset[str]
) -> dict[str, list[str]]:
    """The values of these fields (names in lower case) as the backend gets them."""
    found: dict[str, list[str]] = {}
    if not names:
        return found
    obey_connection(head)
    lines = head.lines
    rules = forwarding.outbound.rules
    if rules is not None and client.exchange is not None:
        lines = rules.kept(lines) + rules.added(client.exchange).split(b"\r\n")
    for line in lines:
        name, _, value = line.partition(b":")
        known = name.decode("latin-1").lower()
        if known in names:
            found.setdefault(known, []).append(value.strip(b" \t").decode("latin-1"))
    return found
