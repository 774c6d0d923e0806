"""Findings of callers: refused credentials, keys and services that do not answer, rates that refuse much.

Pure. Counts are those of the last `window` seconds, over the whole node.
"""

from collections.abc import Mapping

from coregateway.observability.diagnosis.rules import AN_HOUR, Finding

MANY = 20
"""Requests that must have been refused."""

REFUSED_SHARE = 0.1
"""Of the requests with such credentials."""

RATE_SHARE = 0.5
"""Of the requests that a rate has decided."""

LATE = 2.0
"""Times the pause between two fetches after which the keys of an issuer count as stale."""

WHY: Mapping[str, str] = {
    "unknown_key": "no consumer has these keys: callers use one that was taken away, or somebody guesses",
    "expired": "they have expired",
    "not_yet": "they are not valid yet: look at the clocks",
    "audience": "they are for another audience than auth.{table}.audiences",
    "issuer": "their issuer is none that the route accepts",
    "kid": "their key is none that the issuer publishes",
    "signature": "their signature is wrong",
    "alg": "their algorithm is none of auth.{table}.algorithms",
    "malformed": "they are no tokens",
    "missing_claim": "they lack a claim that must be there, such as exp",
    "claim": "a claim of them can stand in no field",
    "crit": "they ask for an extension (crit) that the gateway does not know",
    "role": "their callers lack a role that the route asks for",
    "scope": "their callers lack a scope that the route asks for",
}
"""By the reason, in words; `table`: of the settings, where the method has one."""


def credentials_refused(method: str, reasons: Mapping[str, int], asked: int, window: float) -> Finding | None:
    """Many requests with keys, or with tokens of an issuer, are refused for one cause.

    `method`: as in log lines; empty: tokens of no issuer that is known. `reasons`: how many by their cause.
    `asked`: requests with such credentials.
    """
    reason, refused = max(reasons.items(), key=lambda pair: pair[1], default=("", 0))
    if refused < MANY or refused < REFUSED_SHARE * asked or reason not in WHY:
        return None
    kind = "keys" if method == "key" else "tokens"
    which = f"{kind} of auth.{method}" if method not in ("key", "") else kind
    why = WHY[reason].format(table=method or "jwt.NAME")
    of = max(asked, refused)
    message = f"{refused} of {of} requests with {which} were refused in the last {window:.0f} s: {why}"
    fields: dict[str, object] = {"method": method, "reason": reason, "refused": refused, "of": asked}
    return Finding("credentials_refused", f"{method} {reason}", message, fields)


def keys_stale(name: str, *, age: float | None, refresh: float, stale: float, problem: str) -> Finding | None:
    """The keys of an issuer cannot be fetched. `age`: seconds since they were; None: they never were.
    `refresh`, `stale`: of its settings."""
    if not problem or (age is not None and age < min(LATE * refresh, stale)):
        return None
    if age is None:
        then = "its tokens get 503 auth_unavailable until they are there"
    elif age >= stale:
        then = "they are older than its stale allows: its tokens get 503 auth_unavailable"
    else:
        then = f"those of {age:.0f} s ago are good for {stale - age:.0f} s more"
    message = f"the keys of auth.jwt.{name} cannot be fetched, {problem}: {then}"
    fields: dict[str, object] = {"provider": name, "reason": problem}
    if age is not None:
        fields["age_s"] = round(age)
    return Finding("keys_stale", name, message, fields)


def auth_service_failing(
    name: str, reasons: Mapping[str, int], answered: int, window: float, on_error: str
) -> Finding | None:
    """Forward authentication gets no answers. `reasons`: questions without one, by reason."""
    failed = sum(reasons.values())
    if not failed:
        return None
    reason = max(reasons, key=lambda each: reasons[each])
    then = "these requests got 503 auth_unavailable"
    if on_error == "allow":
        then = "these requests passed without a caller"
    message = (
        f"the service auth.forward.{name} did not answer {failed} of {failed + answered} questions in the "
        f"last {window:.0f} s, most by {reason}: {then}"
    )
    fields: dict[str, object] = {"service": name, "reason": reason, "failed": failed, "of": failed + answered}
    return Finding("auth_service_failing", name, message, fields)


def rate_refuses(policy: str, *, refused: int, decided: int, window: float, enforced: bool) -> Finding | None:
    """A rate refuses most of what it is asked. `refused`: or would, where it is not enforced."""
    if refused < MANY or refused < RATE_SHARE * decided:
        return None
    verb = "refused" if enforced else "would have refused"
    message = (
        f"the rate {policy} {verb} {refused} of {decided} requests in the last {window:.0f} s: a client that "
        f"does not wait, or a rate that is too low (rates.{policy}); /status names the keys nearest to it"
    )
    fields: dict[str, object] = {"policy": policy, "refused": refused, "of": decided, "enforced": enforced}
    return Finding("rate_refuses", policy, message, fields, pause=AN_HOUR / 6)
