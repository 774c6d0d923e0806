"""A backend of FastAPI, in a process of its own: `python -m tests.endpoints.fastapi_backend PORT`.

Each operation tells which one it is, and what has reached it.
"""

import sys
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import Body, Depends, FastAPI, Header, Query, Request
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, Field

PREFIX = "/api/v1/coredinator"


class Error(BaseModel):
    """Both backends have one."""

    detail: str


class Cat(BaseModel):
    kind: Literal["cat"]
    name: str | None = None


class Dog(BaseModel):
    kind: Literal["dog"]
    toys: list[str] = []


class Pets(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]
    more: "Pets | None" = None


def told(operation: str, **received: Any) -> dict[str, Any]:
    return {"backend": "fastapi", "operation": operation, **received}


app = FastAPI(title="Pets", version="7", root_path=PREFIX)
key = APIKeyHeader(name="X-Shop-Key")


@app.get("/health", operation_id="health", responses={503: {"model": Error}})
async def health() -> dict[str, Any]:
    return told("health")


@app.get("/items/{number}", operation_id="list", tags=["items"], summary="One of the `items`")
async def items(
    number: int,
    name: Annotated[str, Query(examples=["a"])],
    size: Annotated[list[int] | None, Query()] = None,
    x_part: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    return told("list", number=number, name=name, size=size, part=x_part)


@app.post("/pets", operation_id="pets", tags=["pets"])
async def pets(pets: Annotated[Pets, Body(examples=[{"pets": [{"kind": "cat"}]}])]) -> dict[str, Any]:
    return told("pets", pets=pets.model_dump())


@app.put(
    "/files/{name}",
    operation_id="upload",
    tags=["items"],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload(name: str, request: Request) -> dict[str, Any]:
    return told("upload", name=name, size=len(await request.body()))


@app.delete("/secret", operation_id="secret", tags=["items"])
async def secret(shown: Annotated[str, Depends(key)]) -> dict[str, Any]:
    return told("secret", key=shown)


@app.get("/internal/x", operation_id="internal")
async def internal() -> dict[str, Any]:
    return told("internal")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical", ws="none")
