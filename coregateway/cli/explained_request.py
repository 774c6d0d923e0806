"""`coregateway explain --id ID`: what became of a request that failed or was slow, for people or as JSON."""

import re
import sys
from datetime import datetime
from typing import Any

from coregateway.cli.admin_address import NoAnswer, get, no_gateway
from coregateway.cli.explain import in_words

_is_id = re.compile(r"[A-Za-z0-9._~-]{1,128}").fullmatch


def main(address: str, request_id: str, *, as_json: bool) -> int:
    """Ask the gateway at `address` (host:port) for it; returns the exit status."""
    try:
        if not _is_id(request_id):
            raise NoAnswer("--id: expected 1 to 128 characters of [A-Za-z0-9._~-]")
        answer = get(address, f"/requests/{request_id}")
        records = answer.told.get("requests")
        if records is None:
            raise no_gateway(address, answer)
        if not records:
            raise NoAnswer(answer.told.get("detail") or "no request with this id is kept")
    except NoAnswer as reason:
        sys.stderr.write(f"coregateway explain: {reason}\n")
        return 1
    sys.stdout.write(answer.text + "\n" if as_json else "\n".join(map(text, records)))
    return 0


def text(record: dict[str, Any]) -> str:
    """For people; times of day are those of this machine."""
    when = datetime.fromtimestamp(record["time"]).astimezone().isoformat(" ", "milliseconds")
    query = f"?{record['query']}" if "query" in record else ""
    line = " ".join(filter(None, (record["method"], record["path"] + query, record.get("protocol"))))
    lines = [line or "no request line was read"]
    lines += [f"  {record['id']}, ended {when} in worker {record['worker']}", f"  from {_caller(record)}", ""]
    lines.append(f"route     {record.get('route') or 'none: the gateway answers itself'}")
    if "policies" in record:
        lines += ["policies", *(f"  {in_words(each)}{_took(each)}" for each in record["policies"])]
    if record.get("attempts"):
        backend = record.get("backend", "")
        lines += [f"backend   {backend}", *(f"  {_attempt(each)}" for each in record["attempts"])]
    lines += [f"changed   {each}" for each in _changes(record.get("changed", {}))]
    outcome = [str(record.get("status") or "none"), record.get("error"), record.get("reason")]
    lines.append(
        f"answer    {' '.join(filter(None, outcome[:2]))}{': ' if outcome[2] else ''}{outcome[2] or ''}"
    )
    if "limited_by" in record:
        lines.append(f"  limited by {record['limited_by']}")
    times = f"{record['ms']:g} ms to the answer, {record['duration_ms']:g} ms in all"
    if record["waited_ms"]:
        times += f", {record['waited_ms']:g} ms of it in the queue for a connection"
    lines += [f"time      {times}", f"bytes     {record['bytes_in']} in, {record['bytes_out']} out"]
    if record["skipped"]:
        lines.append(f"others    {record['skipped']} like it before were not kept")
    if "cut" in record:
        lines.append(f"left out  {', '.join(record['cut'])}")
    return "\n".join([*lines, ""])


def _caller(record: dict[str, Any]) -> str:
    caller: str = record["client"]
    if "consumer" in record:
        caller += f", {record['consumer']} by {record.get('auth', 'an unknown way')}"
    return caller + (f", {record['auth_error']}" if "auth_error" in record else "")


def _took(policy: dict[str, Any]) -> str:
    return f", waited for {policy['ms']:g} ms" if "ms" in policy else ""


def _attempt(told: dict[str, Any]) -> str:
    outcome = " ".join(str(told[name]) for name in ("status", "error") if name in told) or "no answer"
    words = [f"{told.get('upstream') or 'no upstream'}: {outcome}", f"began after {told['began_ms']:g} ms"]
    for name, what in (("sent_ms", "sent"), ("answered_ms", "answered")):
        if name in told:
            words.append(f"{what} after {told[name]:g} ms")
    return ", ".join([*words, f"over after {told['ended_ms']:g} ms"])


def _changes(changed: dict[str, Any]) -> list[str]:
    found = [f"path: {changed['path']}"] if "path" in changed else []
    for direction in ("request", "response"):
        for what, names in changed.get(direction, {}).items():
            found.append(f"{direction}: {', '.join(names)} {what.replace('_', ' ')}")
    return found
