"""`coregateway explain METHOD PATH`: what would become of a request, for people or as JSON."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from time import time
from typing import Any

from coregateway.cli.admin_address import NoAnswer, get
from coregateway.cli.inspection import inspected
from coregateway.net.tls_server import Certificate, ServerTls
from coregateway.proxy.explanation import without_values
from coregateway.proxy.step_verdicts import KNOWN_LATER, PASSES
from coregateway.settings import Settings
from coregateway.settings.tls_report import backend_in_words, certificate_in_words, of_backend

MOST = 20
"""Other routes that are told to people; the rest is counted."""


def main(
    settings: Settings,
    method: str,
    target: str,
    fields: Sequence[str],
    *,
    client: str = "127.0.0.1",
    as_json: bool = False,
) -> int:
    """Print it; returns the exit status. `fields`: as `Name: value`."""
    raw = head_of(method, target, fields)
    found = asyncio.run(_explain(settings, raw, client, states_of(settings.admin.address)))
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if as_json else text(found))
    return 0


async def _explain(
    settings: Settings, raw: bytes, client: str, states: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    async with inspected(settings, states) as inspection:
        found = inspection.explain(raw, client)
        if "sends" in found:  # what is printed may be kept: a terminal's history, a ticket
            found["sends"] = without_values(found["sends"], inspection.worker.plan.credentials)
        return found | tls_of(settings, found)


def tls_of(settings: Settings, found: Mapping[str, Any]) -> dict[str, Any]:
    """What TLS has to do with a request: the certificate that its client is shown if it asks for its host,
    and how connections to the backend are secured. Nothing where all is in the clear."""
    tls: dict[str, Any] = {}
    options = settings.tls.options
    if options is not None and "request" in found:
        shown = ServerTls(options).shown_to(found["request"]["host"])
        tls["shown"] = {"names": [*shown.names], "not_after": shown.ends}
        tls["client"] = settings.tls.client
    row = settings.backends.get(found.get("backend", ""))
    if row is not None and of_backend(row) is not None:
        tls["backend"] = backend_in_words(row.tls)
    return {"tls": tls} if tls else {}


def states_of(address: str) -> dict[tuple[str, str], str]:
    """The states of all upstreams, by their backends and URLs, if a node at this admin address knows them."""
    if not address:
        return {}
    try:
        told = get(address, "/status").told
    except NoAnswer:
        return {}
    return {
        (name, upstream["url"]): upstream["state"]
        for name, backend in told.get("backends", {}).items()
        for upstream in backend["upstreams"]
    }


def head_of(method: str, target: str, fields: Sequence[str]) -> bytes:
    """The head of the request, with a `Host` where none is given."""
    lines = [f"{method} {target} HTTP/1.1"]
    if not any(field.partition(":")[0].lower() == "host" for field in fields):
        lines.append("Host: localhost")
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1", "replace")


def text(found: dict[str, Any]) -> str:
    """For people."""
    lines: list[str] = []
    if "request" in found:
        lines += [f"{found['request']['line']}", f"  from {found['request']['client']}", ""]
        lines += [f"route     {found['route'] or 'none: the gateway answers itself'}"]
        lines += [f"  not {each['route']}: {each['why']}" for each in found["lost"][:MOST]]
        if len(found["lost"]) > MOST:
            lines.append(f"  and {len(found['lost']) - MOST} others")
        lines += ["policies", *(f"  {in_words(each)}" for each in found["policies"])]
        lines += [f"off       {', '.join(found['off'])}"] * bool(found["off"])
    tls = found.get("tls", {})
    if "shown" in tls:
        shown = Certificate(tuple(tls["shown"]["names"]), tls["shown"]["not_after"])
        lines.append(f"tls       is shown {certificate_in_words(shown, time())}; client: {tls['client']}")
    if "answer" in found:
        answer = found["answer"]
        status = "" if answer["status"] is None else f"{answer['status']} "
        lines.append(f"answer    {status}{answer.get('error') or answer.get('detail') or ''}".rstrip())
        if answer.get("error") and answer.get("detail"):
            lines.append(f"  {answer['detail']}")
        if "allow" in answer:
            lines.append(f"  Allow: {', '.join(answer['allow'])}")
        lines += [f"  {line}" for line in answer.get("fields", ())]
    if "backend" in found:
        lines += [f"backend   {found['backend']}", *map(_upstream, found["upstreams"])]
        lines += [f"  TLS: {tls['backend']}"] if "backend" in tls else []
        lines.append("sends")
        lines += [f"  {line}" for line in found["sends"]]
        times = ", ".join(f"{name} {seconds:g}" for name, seconds in found["timeouts"].items())
        lines += [f"timeouts  {times}", f"body      at most {found['max_body'] or 'any number of'} bytes"]
        retry = found["retry"]
        lines += [f"tries     at most {retry['attempts']}", *(f"  if {each}" for each in retry["when"])]
        lines += ["  nothing that was sent is sent again"] * (not retry["repeats"])
    return "\n".join([*lines, ""])


def in_words(told: dict[str, str]) -> str:
    """What a policy says."""
    why = told.get("why")
    if why and told["verdict"] in (PASSES, KNOWN_LATER):
        why = f"({why})"
    return f"{told['policy']}: {told['verdict']}{' ' if why else ''}{why or ''}"


def _upstream(told: dict[str, Any]) -> str:
    at = f" at {told['at']}" if told["at"] and told["at"] not in told["url"] else ""
    return f"  {told['url']}{at}{': ' if told['state'] else ''}{told['state'] or ''}"
