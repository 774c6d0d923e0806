"""Documents of backends to begin with, and the whole document that their pieces make."""

from collections.abc import Mapping
from typing import Any

import orjson

from coregateway.openapi.pieces import Pieces, pieces_of
from coregateway.openapi.recipe import Recipe, Way

type JSON = dict[str, Any]

RECIPE = Recipe("core", "/api/v1/core")
KEYS = (Way("gateway.keys", "x-api-key"),)


def ref(kind: str, name: str) -> JSON:
    return {"$ref": f"#/components/{kind}/{name}"}


def api(paths: JSON | None = None, version: str = "3.1.0", **more: Any) -> JSON:
    return {"openapi": version, "info": {"title": "A", "version": "1"}, "paths": paths or {}, **more}


def answering(schema: JSON | None = None, **more: Any) -> JSON:
    """An operation."""
    content = {} if schema is None else {"content": {"application/json": {"schema": schema}}}
    return {"responses": {"200": {"description": "Fine.", **content}}, **more}


def pieces(document: JSON, recipe: Recipe = RECIPE) -> Pieces:
    return pieces_of(orjson.dumps(document), recipe)


def merged(document: JSON, recipe: Recipe = RECIPE) -> JSON:
    return whole(pieces(document, recipe).texts)


def whole(texts: Mapping[str, bytes]) -> JSON:
    """As a worker puts it together, with the gateway's part of it."""
    components: JSON = {
        name.removeprefix("components."): orjson.loads(b"{" + text + b"}")
        for name, text in texts.items()
        if name.startswith("components.")
    }
    key = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    components.setdefault("securitySchemes", {})["gateway.keys"] = key
    return {
        "openapi": "3.1.0",
        "info": {"title": "CoreGateway", "version": "1"},
        "servers": [{"url": "/"}],
        "tags": orjson.loads(b"[" + texts["tags"] + b"]"),
        "paths": orjson.loads(b"{" + texts["paths"] + b"}"),
        "components": components,
    }


EVERYTHING: JSON = {
    "openapi": "3.0.3",
    "info": {"title": "T", "version": "1"},
    "servers": [{"url": "/v1"}],
    "tags": [{"name": "t", "description": "d"}],
    "security": [{"key": []}],
    "paths": {
        "/a/{id}": {
            "parameters": [
                ref("parameters", "P"),
                {"name": "h", "in": "header", "schema": {"type": "string"}},
            ],
            "get": {
                "tags": ["t"],
                "operationId": "list",
                "parameters": [
                    {
                        "name": "q",
                        "in": "query",
                        "style": "deepObject",
                        "schema": {
                            "type": "object",
                            "properties": {"x": {"type": "integer", "minimum": 1, "exclusiveMinimum": True}},
                        },
                    }
                ],
                "responses": {
                    "200": {
                        "description": "ok",
                        "headers": {"X": ref("headers", "H")},
                        "content": {
                            "application/json": {
                                "schema": ref("schemas", "A"),
                                "examples": {"e": ref("examples", "E")},
                            }
                        },
                        "links": {
                            "l": {"operationId": "make", "parameters": {"x": "$response.body#/x"}},
                            "m": {"operationRef": "#/paths/~1a~1{id}/get"},
                        },
                    },
                    "404": ref("responses", "R"),
                },
            },
            "post": {
                "operationId": "make",
                "requestBody": ref("requestBodies", "B"),
                "callbacks": {
                    "cb": {
                        "{$request.body#/url}": {
                            "post": {
                                "requestBody": {
                                    "content": {"application/json": {"schema": ref("schemas", "A")}}
                                },
                                "responses": {"200": {"description": "x"}},
                            }
                        }
                    }
                },
                "responses": {"201": {"description": "c"}},
                "security": [{"oauth": ["s"]}],
            },
        },
        "/hidden/x": {"get": answering(ref("schemas", "C"))},
        "/ref": {"$ref": "#/components/pathItems/I"},
        "/up": {
            "put": {
                "requestBody": {
                    "content": {
                        "multipart/form-data": {
                            "schema": {
                                "type": "object",
                                "properties": {
                                    "f": {"type": "string", "format": "binary"},
                                    "j": ref("schemas", "A"),
                                },
                            },
                            "encoding": {"j": {"contentType": "application/json"}},
                        }
                    }
                },
                "responses": {"default": {"description": "d"}},
            }
        },
    },
    "components": {
        "schemas": {
            "A": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string", "nullable": True, "default": None},
                    "self": ref("schemas", "A"),
                    "kind": {
                        "oneOf": [ref("schemas", "B"), ref("schemas", "C")],
                        "discriminator": {
                            "propertyName": "k",
                            "mapping": {"b": "#/components/schemas/B", "c": "C"},
                        },
                    },
                },
                "example": {"id": "$ref", "$ref": "#/components/schemas/A"},
            },
            "B": {
                "allOf": [
                    ref("schemas", "A"),
                    {
                        "type": "object",
                        "properties": {"n": {"type": "integer", "enum": [1, 2], "default": 1}},
                    },
                ]
            },
            "C": {"type": "array", "items": {"$ref": "#/components/schemas/A/properties/kind"}},
        },
        "parameters": {"P": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}},
        "headers": {"H": {"schema": {"type": "integer"}}},
        "examples": {"E": {"value": {"$ref": "#/x"}}},
        "responses": {
            "R": {"description": "no", "content": {"application/json": {"schema": ref("schemas", "B")}}}
        },
        "requestBodies": {
            "B": {"content": {"application/json": {"schema": ref("schemas", "A")}}, "required": True}
        },
        "links": {"L": {"operationId": "list"}},
        "pathItems": {"I": {"get": answering()}},
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "K"},
            "oauth": {
                "type": "oauth2",
                "flows": {"clientCredentials": {"tokenUrl": "https://a/t", "scopes": {"s": "S"}}},
            },
        },
    },
}
"""A document that has one of each thing."""
