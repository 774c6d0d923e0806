"""A backend of Flask, its document of OpenAPI 3.0 by hand: `python -m tests.endpoints.flask_backend PORT`."""

import logging
import sys
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.wrappers import Response as BaseResponse

app = Flask(__name__)

JSON = "application/json"
FINE: dict[str, Any] = {"200": {"description": "Fine."}, "400": {"$ref": "#/components/responses/Wrong"}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Measurements", "version": "1.0"},
    "servers": [{"url": "/v2"}],
    "paths": {
        "/health": {"get": {"operationId": "list", "responses": FINE}},
        "/series/{name}": {
            "parameters": [{"$ref": "#/components/parameters/Name"}],
            "get": {"summary": "A series", "responses": FINE},
            "post": {
                "operationId": "add",
                "requestBody": {"$ref": "#/components/requestBodies/Value"},
                "responses": FINE,
            },
        },
    },
    "components": {
        "schemas": {
            "Error": {"type": "object", "properties": {"code": {"type": "integer", "nullable": True}}},
            "Value": {
                "type": "object",
                "required": ["value"],
                "properties": {
                    "value": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                    "note": {"type": "string", "nullable": True},
                },
                "example": {"value": 1.5, "note": None},
            },
        },
        "parameters": {
            "Name": {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        },
        "requestBodies": {
            "Value": {"required": True, "content": {JSON: {"schema": {"$ref": "#/components/schemas/Value"}}}}
        },
        "responses": {
            "Wrong": {
                "description": "Wrong.",
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
            }
        },
    },
}


def told(operation: str, **received: Any) -> Response:
    return jsonify({"backend": "flask", "operation": operation, **received})


@app.get("/openapi.json")
def openapi() -> BaseResponse:
    answer = jsonify(DOCUMENT)
    answer.add_etag()
    return answer.make_conditional(request)


@app.get("/v2/health")
def health() -> Response:
    return told("list")


@app.get("/v2/series/<name>")
def series(name: str) -> Response:
    return told("get_v2_series_name", name=name)


@app.post("/v2/series/<name>")
def add(name: str) -> Response:
    return told("add", name=name, value=request.get_json())


if __name__ == "__main__":
    logging.getLogger("werkzeug").disabled = True
    app.run("127.0.0.1", int(sys.argv[1]))
