"""Callers of a gateway that send one request after the other, each on a connection that it keeps."""

import asyncio
from collections import Counter

from coregateway.testing import RawClient, Response


async def ask_in_turn(
    address: tuple[str, int], path: str, callers: int, times: int, method: str = "GET"
) -> list[Response]:
    """The answers to all of them."""

    async def call() -> list[Response]:
        async with RawClient(address) as client:
            answers: list[Response] = []
            for _ in range(times):
                await client.send(f"{method} {path} HTTP/1.1\r\nHost: gw\r\n\r\n".encode())
                answers.append(await client.read_response())
            return answers

    return [answer for found in await asyncio.gather(*(call() for _ in range(callers))) for answer in found]


def statuses(answers: list[Response]) -> Counter[int]:
    return Counter(answer.status for answer in answers)
