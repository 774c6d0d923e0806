"""A file of settings to begin with: every key with its default and its meaning, made from the model.

The text of a key is the string that stands below it in the model; a table's is its docstring. Tables are
there, keys are comments: a line without its `#` gives the key.
"""

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from itertools import pairwise
from textwrap import wrap
from typing import Literal, TypeIs, cast, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from coregateway.settings.keys import dotted
from coregateway.settings.model import DEFAULT_BACKENDS, ROWS, KeyPath, Settings

WIDTH = 100

HEAD = """\
Settings of CoreGateway, each with its default. To change one, take the # away from its line. Times are in
seconds, sizes in bytes. `coregateway check` says whether the file is right, `coregateway reload` has the
gateway that runs read it again.
"""

BACKENDS = """\
The backends, by their names. These two are there unless `enabled` is false. Another one needs a prefix and
urls. The tables that the gateway has, too, such as `timeouts`, hold for one backend alone where they stand
under its name.
"""


def sample() -> str:
    """The file. As it is it changes nothing; with every key given it means the same."""
    defaults = Settings()
    lines = [*_remark(HEAD), ""]
    lines += _table(Settings, defaults, ())
    for key, row in ROWS.items():
        if key != ("backends",):
            lines += _form(key, row)
    lines += ["", *_remark(BACKENDS)]
    for number, name in enumerate(DEFAULT_BACKENDS):
        row = defaults.backends[name]
        lines += _table(type(row), row, ("backends", name), told=number == 0)
    return "\n".join(lines) + "\n"


def _table(kind: type[BaseModel], values: BaseModel, key: KeyPath, *, told: bool = True) -> Iterator[str]:
    """The keys of a table, then the tables in it; `told`: with all that is to say."""
    if key:
        yield ""
        docstring = inspect.getdoc(kind) if kind.__doc__ and told else None
        yield from _remark(docstring or "")
        yield f"[{dotted(key)}]"
    texts = _told(kind)
    tables: list[tuple[str, BaseModel]] = []
    for name, value in values:
        if isinstance(value, BaseModel):
            tables.append((name, value))
        elif (*key, name) not in ROWS and (told or value != kind.model_fields[name].get_default()):
            yield from _remark(texts[name] if told else "")
            yield f"#{dotted((name,))} = {_toml(value)}"
    for name, value in tables:
        if told or value != kind.model_fields[name].get_default():
            yield from _table(type(value), value, (*key, name), told=told)


def _form(key: KeyPath, kind: type[BaseModel]) -> Iterator[str]:
    """What a table may say of which there may be any number: remarks alone, for there is none by default."""
    yield ""
    yield from _remark(kind.__doc__ or "")
    yield f"# [{dotted(key)}.NAME]"
    yield from _forms(kind)


def _forms(kind: type[BaseModel], under: str = "") -> Iterator[str]:
    for name, field in kind.model_fields.items():
        table, text = field.annotation, _texts(kind).get(name, "")
        if not _is_table(table):
            takes = _takes(field, told="Not given:" in text)
            yield from _remark(f"{under}{name}: {text} {takes}")
        elif table in _WITH_DEFAULTS:
            yield from _remark(f"{under}{name}.{', .'.join(table.model_fields)}: {text}")
        else:
            yield from _forms(table, f"{under}{name}.")


def _takes(field: FieldInfo, *, told: bool) -> str:
    """What a key takes, and what holds without it, unless that was `told`."""
    takes = field.description or ""
    if field.is_required():
        return f"Required: {takes}."
    default = field.get_default(call_default_factory=True)
    if told or default in (None, "", (), {}):
        return f"Takes {takes}."
    return f"Takes {takes}. Default: {_toml(default)}."


def _told(kind: type[BaseModel]) -> Mapping[str, str]:
    """What stands above each key: its text, and what it takes if that is a choice or all there is to say."""
    told: dict[str, str] = {}
    for name, field in kind.model_fields.items():
        text, takes = _texts(kind).get(name, ""), field.description or ""
        if not text:
            told[name] = f"{takes[:1].upper()}{takes[1:]}"
        else:
            told[name] = f"{text} Takes {takes}." if get_origin(field.annotation) is Literal else text
    return told


@cache
def _texts(kind: type[BaseModel]) -> Mapping[str, str]:
    """What is said of each key of a table, and of the tables that it derives from."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if not issubclass(each, BaseModel) or each is BaseModel:
            continue
        tree = ast.parse(inspect.getsource(each))
        body = cast(ast.ClassDef, tree.body[0]).body
        for one, after in pairwise(body):
            match one, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                    value=ast.Constant(value=str() as text)
                ):
                    found[name] = inspect.cleandoc(text)
                case _:
                    pass
    return found


def _is_table(kind: object) -> TypeIs[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _tables_in(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for field in kind.model_fields.values():
        if _is_table(field.annotation):
            yield field.annotation
            yield from _tables_in(field.annotation)


_WITH_DEFAULTS = frozenset((*_tables_in(Settings), *_tables_in(ROWS[("backends",)])))
"""Tables that stand in the file, with all that is to say of their keys: elsewhere the keys are named."""


def _remark(text: str) -> list[str]:
    return [f"# {line}" for line in wrap(" ".join(text.split()), WIDTH)]


def _toml(value: object) -> str:
    match value:
        case None:
            return '""'
        case dict():
            return "{}"  # no default holds a name
        case tuple():
            return f"[{', '.join(map(_toml, cast('tuple[object, ...]', value)))}]"
        case IPv4Network() | IPv6Network():
            return json.dumps(str(value))
        case _:
            return json.dumps(value, ensure_ascii=False)
