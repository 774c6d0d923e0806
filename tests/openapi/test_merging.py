"""What a backend's document becomes as a part of that of all."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from coregateway.openapi.paths import base_of
from coregateway.openapi.recipe import Recipe, separator
from tests.openapi.merging import EVERYTHING, KEYS, RECIPE, answering, api, merged, pieces, ref

type JSON = dict[str, Any]
PREFIX = "/api/v1/core"


def schemas(document: JSON) -> JSON:
    return document["components"]["schemas"]


def schema_of(schema: JSON, version: str = "3.1.0", **others: JSON) -> JSON:
    """What becomes of a schema."""
    return schemas(merged(api(version=version, components={"schemas": {"X": schema, **others}})))["core.X"]


def test_paths_names_and_references_are_those_of_the_backend() -> None:
    found = merged(EVERYTHING)
    assert list(found["paths"]) == [f"{PREFIX}/v1{path}" for path in ("/a/{id}", "/hidden/x", "/ref", "/up")]
    get = found["paths"][f"{PREFIX}/v1/a/{{id}}"]["get"]
    assert (get["operationId"], get["tags"]) == ("core_list", ["core: t"])
    assert found["tags"] == [{"name": "core: t", "description": "d"}]
    assert get["parameters"] == [
        {"$ref": "#/components/parameters/core.P"},
        {"name": "h", "in": "header", "schema": {"type": "string"}},
        get["parameters"][2],
    ]
    answer = get["responses"]["200"]
    assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/core.A"}
    assert answer["links"]["l"]["operationId"] == "core_make"
    reference = answer["links"]["m"]["operationRef"]
    assert reference == f"#/paths/{(PREFIX + '/v1/a/{id}').replace('/', '~1')}/get"
    assert get["security"] == [{"core.key": []}]
    assert schemas(found)["core.C"]["items"] == {"$ref": "#/components/schemas/core.A/properties/kind"}


def test_data_stays_as_it_is() -> None:
    found = merged(EVERYTHING)
    assert schemas(found)["core.A"]["example"] == EVERYTHING["components"]["schemas"]["A"]["example"]
    assert found["components"]["examples"]["core.E"] == {"value": {"$ref": "#/x"}}
    words = "see #/components/schemas/A, /a and {$ref}"
    shown = schema_of({"type": "string", "description": words, "enum": ["#/components/schemas/A"]})
    assert shown == {"type": "string", "description": words, "enum": ["#/components/schemas/A"]}


@pytest.mark.parametrize(
    ("schema", "modern"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": False}, {"type": "string"}),
        (
            {"type": "string", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"allOf": [{"type": "object"}], "nullable": True, "description": "d"},
            {"description": "d", "anyOf": [{"allOf": [{"type": "object"}]}, {"type": "null"}]},
        ),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        (
            {"type": "string", "format": "byte"},
            {"type": "string", "format": "byte", "contentEncoding": "base64"},
        ),
        (
            {"type": "string", "format": "binary"},
            {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"},
        ),
        ({"type": "integer", "example": 5}, {"type": "integer", "example": 5}),
    ],
)
def test_schemas_of_3_0_are_told_in_the_words_of_3_1(schema: JSON, modern: JSON) -> None:
    assert schema_of(schema, "3.0.3") == modern


def test_beside_a_reference_3_0_says_nothing() -> None:
    given = {"$ref": "#/components/schemas/Y", "description": "d"}
    assert schema_of(given, "3.0.3", Y={}) == {"$ref": "#/components/schemas/core.Y"}
    assert schema_of(given, "3.1.0", Y={}) == {"description": "d", "$ref": "#/components/schemas/core.Y"}


def test_a_discriminator_that_goes_by_names_goes_by_those_from_before() -> None:
    """Without a mapping, the schemas' names are the values: and these are other names now."""
    choices = [ref("schemas", "Cat"), ref("schemas", "Dog")]
    implicit: JSON = {"oneOf": choices, "discriminator": {"propertyName": "t"}}
    shown = schema_of(implicit, Cat={}, Dog={})
    mapping = {"Cat": "#/components/schemas/core.Cat", "Dog": "#/components/schemas/core.Dog"}
    assert shown["discriminator"] == {"propertyName": "t", "mapping": mapping}
    implicit["discriminator"] = {"propertyName": "t", "mapping": {"meow": "Cat", "x": "http://a/b"}}
    shown = schema_of(implicit, Cat={}, Dog={})
    assert shown["discriminator"]["mapping"] == {"Dog": mapping["Dog"], "meow": mapping["Cat"]}


def test_a_discriminator_of_a_base_goes_by_those_that_derive_from_it() -> None:
    base = {"type": "object", "discriminator": {"propertyName": "t"}}
    shown = schema_of(base, Cat={"allOf": [ref("schemas", "X")]})
    assert shown["discriminator"]["mapping"] == {"Cat": "#/components/schemas/core.Cat"}


@pytest.mark.parametrize(
    "reference",
    [
        "http://169.254.169.254/latest#/x",
        "other.yaml#/components/schemas/A",
        "file:///etc/passwd",
        "#/components/schemas/Nowhere",
        "#/components/parameters/P",
        "#/definitions/A",
        "#",
        5,
    ],
)
def test_what_leads_elsewhere_or_nowhere_is_any_value(reference: object) -> None:
    shown = schema_of({"type": "object", "properties": {"a": {"$ref": reference}}})
    assert shown["properties"]["a"].keys() == {"description"}
    assert "refers to something that is not in it" in shown["properties"]["a"]["description"]


@pytest.mark.parametrize(
    "things",
    [
        {"schemas": {"A": ref("schemas", "B"), "B": ref("schemas", "A")}},
        {"schemas": {"A": ref("schemas", "A")}},
        {"parameters": {"P": ref("parameters", "Q"), "Q": ref("parameters", "P")}},
        {"responses": {"R": ref("responses", "R")}},
    ],
)
def test_references_that_go_round_end(things: JSON) -> None:
    for made in merged(api(components=things))["components"].values():
        assert "$ref" not in str(made)


def test_what_is_left_out_is_told() -> None:
    document = api(
        {
            "/a": {"get": answering({"$ref": "http://x/y"})},
            "/../b": {"get": answering()},
            "/c": {"get": answering(ref("schemas", "Nowhere"))},
        }
    )
    assert pieces(document).remarks == [
        "references that lead elsewhere, which are not followed: 1",
        "references that lead to nothing in it: 1",
        "paths that no request may have: 1",
    ]


@pytest.mark.parametrize(
    ("servers", "base"),
    [
        ([{"url": "/v1"}], "/v1"),
        ([{"url": "/v1/"}, {"url": "/v2"}], "/v1"),
        ([{"url": "v1"}], "/v1"),
        ([{"url": "./v1"}], "/v1"),
        ([{"url": "/"}], ""),
        ([{"url": "http://localhost:8000/v1"}], ""),
        ([{"url": "//other/v1"}], ""),
        ([{"url": PREFIX}], ""),
        ([{"url": f"{PREFIX}/v1"}], "/v1"),
        ([{"url": "/{v}", "variables": {"v": {"default": "v3"}}}], "/v3"),
        ([{"url": "/{v}"}], ""),
        ([{"url": "http://[bad"}], ""),
        ([{"url": 5}], ""),
        ([5], ""),
        ([], ""),
        ({}, ""),
    ],
)
def test_the_first_server_counts_where_it_is_relative(servers: object, base: str) -> None:
    assert base_of({"servers": servers}, RECIPE) == base


@pytest.mark.parametrize(
    ("path", "found"),
    [(f"{PREFIX}/x", f"{PREFIX}/x"), (PREFIX, PREFIX), ("/x", None), (f"{PREFIX}y", None)],
)
def test_a_backend_that_sees_the_prefix_has_it_in_its_paths(path: str, found: str | None) -> None:
    document = merged(api({path: {"get": answering()}}), replace(RECIPE, strip=False))
    assert list(document["paths"]) == ([found] if found else [])


def test_what_another_backend_has_below_the_prefix_is_left_to_it() -> None:
    recipe = replace(RECIPE, inner=(f"{PREFIX}/inner",))
    document = api({path: {"get": answering()} for path in ("/inner", "/inner/x", "/innermost")})
    assert list(merged(document, recipe)["paths"]) == [f"{PREFIX}/innermost"]


def test_only_what_is_forwarded_is_shown() -> None:
    item = {method: answering() for method in ("get", "trace", "delete")}
    document = merged(
        api({"/a": item, "/b": {"trace": answering()}}), replace(RECIPE, methods=("get", "put"))
    )
    assert {path: [*item] for path, item in document["paths"].items()} == {f"{PREFIX}/a": ["get"]}


@pytest.mark.parametrize(
    ("hide", "left"),
    [
        (("/v1/hidden/*",), {"A", "B"}),
        (("/hidden/*",), {"A", "B"}),
        (("/v1/a/{id}", "/v1/ref", "/up"), {"A", "C"}),
        (("/a/*", "/hidden/*", "/up"), set[str]()),
    ],
)
def test_what_is_hidden_is_nowhere_nor_what_it_alone_refers_to(hide: tuple[str, ...], left: set[str]) -> None:
    document = copy.deepcopy(EVERYTHING)
    del document["components"]["schemas"]["A"]["properties"]["kind"]
    document["components"]["schemas"]["C"] = {"allOf": [ref("schemas", "A")]}
    found = merged(document, replace(RECIPE, hide=hide))
    names = {name.removeprefix("core.") for name in found["components"].get("schemas", {})}
    assert names == left
    assert "hidden" not in str(found["paths"]) or "/hidden/*" not in hide


def test_an_operation_without_an_id_gets_one_and_none_is_there_twice() -> None:
    item = {"get": answering(operationId="x"), "put": answering(operationId="x"), "post": answering()}
    found = merged(api({"/a-b/{id}": item}))["paths"][f"{PREFIX}/a-b/{{id}}"]
    ids = {method: operation["operationId"] for method, operation in found.items()}
    assert ids == {"get": "core_x", "put": "core_x_2", "post": "core_post_a_b_id"}


@pytest.mark.parametrize(
    ("name", "names", "between"),
    [
        ("core", ["core", "telemetry"], "_"),
        ("core", ["core", "core_x"], "."),
        ("core_x", ["core", "core_x"], "_"),
        ("core", ["core", "core-x", "corex"], "_"),
        ("get", ["get"], "."),
    ],
)
def test_ids_of_two_backends_never_meet(name: str, names: list[str], between: str) -> None:
    assert separator(name, names) == between


SECURITY: list[tuple[JSON, object, bool, object]] = [
    ({}, None, False, [{"gateway.keys": []}]),
    ({}, None, True, [{"gateway.keys": []}, {}]),
    (
        {"own": {"type": "http", "scheme": "bearer"}},
        [{"own": []}],
        False,
        [{"gateway.keys": [], "core.own": []}],
    ),
    (
        {"own": {"type": "apiKey", "in": "header", "name": "x-api-KEY"}},
        [{"own": []}],
        False,
        [{"gateway.keys": []}],
    ),
    (
        {"a": {"type": "http", "scheme": "basic"}, "b": {"type": "http", "scheme": "bearer"}},
        [{"a": []}, {"b": []}],
        False,
        [{"gateway.keys": [], "core.a": []}, {"gateway.keys": [], "core.b": []}],
    ),
    ({}, [{"nowhere": []}], False, [{"gateway.keys": []}]),
]


@pytest.mark.parametrize(
    ("schemes", "asked", "anonymous", "security"),
    SECURITY,
)
def test_what_the_gateway_asks_for_comes_to_what_the_backend_asks_for(
    schemes: JSON, asked: object, anonymous: bool, security: object
) -> None:
    operation = answering(security=asked) if asked is not None else answering()
    document = api({"/a": {"get": operation}}, components={"securitySchemes": schemes})
    recipe = replace(RECIPE, ways=KEYS, anonymous=anonymous)
    assert merged(document, recipe)["paths"][f"{PREFIX}/a"]["get"]["security"] == security


def test_every_parameter_of_a_path_is_described_and_no_other() -> None:
    given: list[JSON] = [
        {"name": "b", "in": "path", "schema": {"type": "integer"}},
        {"name": "z", "in": "path", "required": True, "schema": {}},
        {"name": "q", "in": "query", "schema": {}},
        {"name": "q", "in": "query", "schema": {"type": "string"}},
        {"name": "Authorization", "in": "header", "schema": {}},
    ]
    found = merged(api({"/{a}/{b}": {"parameters": given, "get": answering()}}))["paths"]
    parameters = found[f"{PREFIX}/{{a}}/{{b}}"]["get"]["parameters"]
    assert [(each["in"], each["name"], each.get("required")) for each in parameters] == [
        ("path", "b", True),
        ("query", "q", None),
        ("path", "a", True),
    ]


def test_names_that_no_component_may_have_are_spelled_in_another_way() -> None:
    given = {"Page[Item]": {"type": "object"}, "Page_Item_": ref("schemas", "Page[Item]")}
    found = schemas(merged(api(components={"schemas": given})))
    assert found == {
        "core.Page_Item_": {"type": "object"},
        "core.Page_Item__2": {"$ref": "#/components/schemas/core.Page_Item_"},
    }


def test_a_document_of_swagger_2_is_shown_alone() -> None:
    document: JSON = {
        "swagger": "2.0",
        "info": {"title": "Old", "version": "1"},
        "host": "internal:8080",
        "schemes": ["http"],
        "basePath": "/old",
        "paths": {"/pets": {"get": {"responses": {"200": {"schema": {"$ref": "http://internal/x"}}}}}},
    }
    made = pieces(document, Recipe("core", PREFIX))
    assert made.dialect == "Swagger 2.0"
    assert [*made.texts] == ["whole"]
    assert b"internal" not in made.texts["whole"]
    assert b'"basePath":"/api/v1/core/old"' in made.texts["whole"]
