"""Whatever a backend gives, what is shown is a valid document, or nothing, with a word why."""

import copy
import json
from collections.abc import Iterator
from random import Random
from resource import RUSAGE_CHILDREN, getrusage
from time import process_time
from typing import Any, cast

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from coregateway.openapi.building import build
from coregateway.openapi.pieces import pieces_of
from coregateway.openapi.reading import DEEPEST, Unusable
from coregateway.openapi.recipe import Recipe
from tests.openapi.merging import EVERYTHING, KEYS, RECIPE, answering, api, merged, pieces, ref, whole

type JSON = dict[str, Any]

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, "", "x", "#/components/schemas/A", "http://e/x#/A", "array"),
    *([], {}, [{}], [None], ["a", "a"], {"": ""}, {"type": "nonsense"}, {"allOf": []}, {"$ref": 5}),
    *({"$ref": "x.json"}, {"$ref": "#"}, ref("schemas", "A"), ref("responses", "R"), ref("parameters", "P")),
    *({"$ref": "#/components/schemas/A/properties/self"}, {"$ref": "#/paths/~1a~1{id}/get"}),
)
KEYS_OF_ANYTHING = (
    *("$ref", "type", "schema", "content", "examples", "example", "default", "x-a", "in", "name", "required"),
    *("parameters", "nullable", "discriminator", "servers", "security", "get", "$id", "items", "enum"),
)


def places(node: object, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(node, dict):
        for key, each in cast(JSON, node).items():
            yield from places(each, (*at, key))
    elif isinstance(node, list):
        for number, each in enumerate(cast("list[Any]", node)):
            yield from places(each, (*at, number))


def damaged(seed: int) -> JSON:
    """A document that has one of each thing, with some of them replaced, taken out or put in."""
    random = Random(seed)
    document = copy.deepcopy(EVERYTHING)
    document["openapi"] = random.choice(["3.0.3", "3.1.0"])
    for _ in range(random.randint(1, 6)):
        *way, last = random.choice([place for place in places(document) if place])
        holder: Any = document
        for step in way:
            holder = holder[step]
        match random.randrange(5):
            case 0 | 1 | 2:
                holder[last] = copy.deepcopy(random.choice(JUNK))
            case 3:
                del holder[last]
            case _:
                if isinstance(holder, dict):
                    holder[random.choice(KEYS_OF_ANYTHING)] = copy.deepcopy(random.choice(JUNK))
    return document


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), guarded=st.booleans(), hidden=st.booleans())
def test_a_damaged_document_gives_a_valid_one(seed: int, guarded: bool, hidden: bool) -> None:
    recipe = Recipe("core", "/c", hide=("/hidden/*",) if hidden else (), ways=KEYS if guarded else ())
    try:
        made = pieces_of(json.dumps(damaged(seed)).encode(), recipe)
    except Unusable:
        return
    OpenAPIV31SpecValidator(whole(made.texts)).validate()


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.text(),
        lambda some: (
            st.lists(some)
            | st.dictionaries(
                st.sampled_from(
                    ["openapi", "paths", "/a", "get", "components", "schemas", "$ref", "swagger", "servers"]
                ),
                some,
            )
        ),
        max_leaves=30,
    )
)
def test_any_json_gives_a_valid_document_or_a_word(value: Any) -> None:
    table = {**cast(JSON, value), "openapi": "3.1.0"} if isinstance(value, dict) else value
    try:
        made = pieces_of(json.dumps(table).encode(), RECIPE)
    except Unusable:
        return
    OpenAPIV31SpecValidator(whole(made.texts)).validate()


def test_a_document_of_each_thing_is_valid() -> None:
    OpenAPIV31SpecValidator(merged(EVERYTHING)).validate()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "it is no JSON"),
        (b"\xff\xfe{}", "it is no JSON"),
        (b'{"openapi": NaN}', "it is no JSON"),
        (b"[]", "it is no OpenAPI document"),
        (b"5", "it is no OpenAPI document"),
        (b'{"openapi": 3.1}', "its version of OpenAPI is neither 3.0 nor 3.1"),
        (b'{"openapi": "3.2.0"}', "its version of OpenAPI is neither 3.0 nor 3.1"),
        (b'{"openapi": "3.1.0", "paths": []}', "its paths are no object"),
        (b"[" * 100_000, f"it is nested more than {DEEPEST} deep"),
        (
            b'{"openapi": "3.1.0", "a": ' + b"[" * DEEPEST + b"]" * DEEPEST + b"}",
            f"it is nested more than {DEEPEST} deep",
        ),
        (
            b'{"swagger": "2.0", "a": ' + b"[" * 500 + b"]" * 500 + b"}",
            f"it is nested more than {DEEPEST} deep",
        ),
    ],
)
def test_what_is_of_no_use_is_told_why(text: bytes, words: str) -> None:
    with pytest.raises(Unusable, match=words):
        pieces_of(text, RECIPE)


def test_a_key_that_is_there_twice_counts_once() -> None:
    text = orjson.dumps(api({"/a": {"get": answering()}})).replace(b'"/a":', b'"/a":{},"/a":')
    assert whole(pieces_of(text, RECIPE).texts)["paths"].keys() == {"/api/v1/core/a"}


def test_a_chain_of_references_of_any_length_takes_no_time() -> None:
    """Quadratic it would take minutes."""
    chain = {f"S{number}": ref("schemas", f"S{number + 1}") for number in range(20_000)}
    began = process_time()
    made = merged(api(components={"schemas": chain}))
    assert process_time() - began < 20.0
    assert len(made["components"]["schemas"]) == 20_000


def test_what_is_made_grows_with_what_was_given_alone() -> None:
    """References are rewritten, never followed: no document becomes a multiple of itself."""
    wide = {
        f"S{number}": {"allOf": [ref("schemas", f"S{each}") for each in range(40)]} for number in range(40)
    }
    document = api({"/a": {"get": answering(ref("schemas", "S0"))}}, components={"schemas": wide})
    made = pieces(document)
    shown = sum(len(text) for name, text in made.texts.items() if name != "book")
    assert shown < 2 * len(orjson.dumps(document))


def test_one_that_takes_too_long_takes_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that makes pieces is ended, and each document is tried alone."""
    good = orjson.dumps(api({"/a": {"get": answering()}}))
    slow = Recipe("slow", "/slow")
    calls: list[list[str]] = []

    def run(documents: Any, seconds: float) -> Any:
        calls.append([recipe.backend for recipe, _ in documents])
        return None if slow in (recipe for recipe, _ in documents) else real(documents, seconds)

    from coregateway.openapi import building

    real = building._run  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(building, "_run", run)
    built = {each.backend: each for each in build([(slow, good), (RECIPE, good)])}
    assert built["slow"].problem == "to read it takes too long, or too much memory"
    assert built["core"].operations == 1
    assert calls == [["slow", "core"], ["slow"], ["core"]]


def test_a_process_that_takes_too_long_is_ended() -> None:
    [built] = build([(RECIPE, orjson.dumps(api()))], seconds=0.001)
    assert built.problem == "to read it takes too long, or too much memory"


def test_fifty_documents_of_two_hundred_operations_take_seconds_of_no_loop() -> None:
    """About one second of CPU, in the process that makes them."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": ref("schemas", "A")}}
    paths = {f"/a{number}/{{id}}": {"post": answering(ref("schemas", "A"))} for number in range(200)}
    document = orjson.dumps(api(paths, components={"schemas": {"A": schema}}))
    documents = [(Recipe(f"b{number}", f"/b{number}", with_book=False), document) for number in range(50)]
    before = getrusage(RUSAGE_CHILDREN)
    built = build(documents, seconds=120.0)
    after = getrusage(RUSAGE_CHILDREN)
    assert sum(each.operations for each in built) == 10_000
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 6.0
