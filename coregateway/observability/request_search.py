"""Finds requests that were kept, whichever worker has them, the latest first."""

from asyncio import sleep
from typing import Any

import orjson

from coregateway.shared_memory import Board


async def found(board: Board, request_id: str) -> list[dict[str, Any]]:
    """What is kept of the requests with this id: of one as a rule, but clients choose ids."""
    wanted = b'"id":%b' % orjson.dumps(request_id)
    records: list[dict[str, Any]] = []
    for part in board.parts:
        for record in part.ring.read():
            if wanted in record:
                told = orjson.loads(record)
                if told["id"] == request_id:
                    records.append(told | {"worker": part.worker})
        await sleep(0)
    records.sort(key=lambda record: record["time"], reverse=True)
    return records
