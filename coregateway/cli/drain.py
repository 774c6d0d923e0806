"""`coregateway drain` and `undrain`: take an upstream of the gateway that runs out, or have it back."""

import sys

from coregateway.cli.admin_address import NoAnswer, no_gateway, post


def main(what: str, address: str, backend: str, url: str) -> int:
    """`what`: "drain" or "undrain". Returns 0 once all workers have done so, else 1."""
    try:
        answer = post(address, f"/upstreams/{what}", {"backend": backend, "url": url})
        match answer.told:
            case {"outcome": "drained" | "undrained" as done, "late": []}:
                sys.stdout.write(f"{done}: {backend} {url}\n")
                return 0
            case {"outcome": "drained" | "undrained", "late": late}:
                reason = f"not taken yet by the workers {', '.join(map(str, late))}"
            case {"outcome": "no_backend"}:
                reason = f"the gateway has no backend {backend!a}"
            case {"outcome": "no_upstream", "urls": urls}:
                reason = f"the backend {backend} has no upstream {url!a}; it has {', '.join(urls)}"
            case {"outcome": "no_answer"}:
                reason = "the main process does not answer"
            case {"outcome": "unavailable" | "too_many"}:
                reason = "this gateway cannot"
            case _:
                raise no_gateway(address, answer)
    except NoAnswer as error:
        reason = str(error)
    sys.stderr.write(f"coregateway {what}: {reason}\n")
    return 1
