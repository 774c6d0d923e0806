"""What the operations of the gateway's document share: schemas, parameters, headers, bodies and answers."""

from collections.abc import Collection, Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any

from coregateway.model.contract import CONTRACT
from coregateway.model.errors import GatewayError, MethodNotAllowed, Unavailable
from coregateway.prober.planning import ways_of
from coregateway.settings import BackendSettings, Settings

type JSON = dict[str, Any]

OWN_TAG = "gateway"

EXAMPLE_REQUEST_ID = "0b9d1c6e4f5a47d2a3c8e7f601b2c3d4"


def components(settings: Settings, described: Collection[str]) -> JSON:
    schemes = security_schemes(settings)
    return {
        **({"securitySchemes": schemes} if schemes else {}),
        "schemas": {
            own_schema(name): schema
            for name, schema in (("Problem", _PROBLEM), ("Health", _HEALTH), ("State", _STATE))
        },
        "parameters": {
            **{
                path_of(name): _path_parameter(backend)
                for name, backend in settings.backends.items()
                if name not in described
            },
            "Query": _QUERY,
        },
        "headers": {"Version": _VERSION, "RequestID": _REQUEST_ID, "RetryAfter": _RETRY_AFTER},
        "requestBodies": {"Body": _BODY},
        "responses": {
            "Relayed": _RELAYED,
            "Refused": _REFUSED,
            **{problem_of(status): _problem(errors) for status, errors in by_status().items()},
        },
    }


def security_schemes(settings: Settings) -> JSON:
    """How callers authenticate where a backend requires it."""
    found: JSON = {}
    for row in settings.backends.values():
        for way in ways_of(settings, row.auth.require):
            if way.scheme == "gateway.keys":
                found[way.scheme] = {
                    "type": "apiKey",
                    "in": "header",
                    "name": settings.auth.keys.header,
                    "description": "A key of this gateway.",
                }
            else:
                issuer = settings.auth.jwt[way.scheme.removeprefix("gateway.jwt.")].issuer
                found[way.scheme] = {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": f"A token of {issuer}.",
                }
    return found


def path_of(name: str) -> str:
    return f"Path-{name}"


def _path_parameter(backend: BackendSettings) -> JSON:
    parameter: JSON = {
        "name": "path",
        "in": "path",
        "required": True,
        "description": (
            "The path at the backend without its first slash, written as in a URL: it is forwarded byte "
            "for byte. It may contain slashes, which must be sent as slashes and not as `%2F`."
        ),
        "schema": {"type": "string"},
    }
    if backend.health.path is not None:
        parameter["example"] = backend.health.path.partition("?")[0].removeprefix("/")
    return parameter


def by_status() -> dict[int, tuple[type[GatewayError], ...]]:
    status = attrgetter("status")
    return {key: tuple(errors) for key, errors in groupby(sorted(CONTRACT, key=status), key=status)}


def problem_of(status: int) -> str:
    return f"Problem{status}"


def _problem(errors: tuple[type[GatewayError], ...]) -> JSON:
    headers: JSON = {**ALWAYS, "X-CoreGateway-Error": _cause(errors)}
    if any(issubclass(error, Unavailable) for error in errors):
        headers["Retry-After"] = ref("headers", "RetryAfter")
    if MethodNotAllowed in errors:
        headers["Allow"] = {"description": "The methods of this backend.", "schema": {"type": "string"}}
    causes = ", ".join(f"`{error.cause}`" for error in errors)
    return {
        "description": f"{errors[0].title}, from the gateway: {causes}.",
        "headers": headers,
        "content": {
            "application/problem+json": {
                "schema": ref("schemas", own_schema("Problem")),
                "examples": {
                    error.cause: {
                        "value": {
                            "type": "about:blank",
                            "title": error.title,
                            "status": error.status,
                            "detail": error.detail,
                            "request_id": EXAMPLE_REQUEST_ID,
                        }
                    }
                    for error in errors
                },
            }
        },
    }


def _cause(errors: Iterable[type[GatewayError]]) -> JSON:
    return {
        "description": "The cause, as one token. Only on answers of the gateway itself.",
        "schema": {"type": "string", "enum": [error.cause for error in errors]},
    }


def own_schema(name: str) -> str:
    """A name that no class of a user has."""
    return f"{OWN_TAG}.{name}"


def ref(kind: str, name: str) -> JSON:
    return {"$ref": f"#/components/{kind}/{name}"}


ALWAYS: JSON = {
    "X-CoreRL-Version": ref("headers", "Version"),
    "X-Request-ID": ref("headers", "RequestID"),
}

_VERSION: JSON = {"description": "The gateway's version.", "schema": {"type": "string"}}

_REQUEST_ID: JSON = {
    "description": "The client's own `X-Request-ID` when it is usable, otherwise a new one.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"},
}

_RETRY_AFTER: JSON = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}

_PROBLEM: JSON = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "The same as in `X-Request-ID` and in the log."},
    },
    "required": ["type", "title", "status", "detail", "request_id"],
}

_HEALTH: JSON = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["healthy", "degraded"]},
        "services": {
            "type": "object",
            "additionalProperties": {"type": "string", "enum": ["healthy", "unhealthy"]},
        },
    },
    "required": ["status", "services"],
}

_STATE: JSON = {
    "type": "object",
    "properties": {"status": {"type": "string", "enum": ["alive", "ready", "not ready"]}},
    "required": ["status"],
}

_QUERY: JSON = {
    "name": "query",
    "in": "query",
    "style": "form",
    "explode": True,
    "description": "Any query: each property becomes one `name=value`. It is forwarded byte for byte.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "example": {},
}

_BODY: JSON = {
    "description": "Any body of any media type.",
    "content": {
        "application/json": {"schema": {}, "example": {}},
        "text/plain": {"schema": {"type": "string"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}

_RELAYED: JSON = {
    "description": (
        "What the backend sent: its status, headers and body. It may have a status listed above too, "
        "then without `X-CoreGateway-Error`."
    ),
    "headers": ALWAYS,
    "content": {"*/*": {"schema": {}}},
}

_REFUSED: JSON = {
    "description": "The gateway refused the request.",
    "headers": {
        **ALWAYS,
        "X-CoreGateway-Error": {"description": "The cause, as one token.", "schema": {"type": "string"}},
    },
    "content": {"application/problem+json": {"schema": ref("schemas", own_schema("Problem"))}},
}
