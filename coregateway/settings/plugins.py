"""Plugins: modules of users by their names, imported, and their settings checked by models of their own.

    plugins = ["acme.gateway", "acme.audit:attach"]

    [plugin."acme.audit"]
    header = "X-Tenant"

A plugin is a module with a function `attach(app)` or `attach(app, settings)`. `settings` is its table, as the
class `Settings` of the module reads it where that is a pydantic model, else as a dict. Modules are looked for
as Sanic does, in the working directory, too. What is wrong with a plugin is a mistake in the settings.
"""

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, iscoroutinefunction, signature
from os import getcwd
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Annotated, Any, NoReturn, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from coregateway.settings.mistakes import Mistake, shown
from coregateway.settings.spelling import closest

ATTACH = "attach"
MODEL = "Settings"

type Tables = Mapping[str, Mapping[str, Any]]
"""What the settings give each module."""

type Where = Callable[[tuple[str, ...]], str]
"""Where a key stands, for a mistake."""


def _name(text: str) -> str:
    module, colon, function = text.partition(":")
    words = [*module.split("."), *([function] if colon else ())]
    if not all(word.isidentifier() for word in words):
        raise ValueError
    return text


def _tuple(value: object) -> object:
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError
    return names


PluginNames = Annotated[
    tuple[Annotated[str, AfterValidator(_name)], ...],
    BeforeValidator(_tuple),
    AfterValidator(_distinct),
    Field(description='a list of distinct modules such as "acme.gateway" or "acme.audit:attach"'),
]


@dataclass(frozen=True, slots=True)
class Plugin:
    """One that is ready to be attached."""

    name: str
    """As in `plugins`."""
    attach: Callable[..., object]
    settings: object
    """Its table, as its model reads it; without a model the table itself."""
    takes_settings: bool


def module_of(name: str) -> str:
    """The module of a plugin, under which its table stands."""
    return name.partition(":")[0]


def resolve(names: Sequence[str], tables: Tables, where: Where) -> tuple[list[Plugin], list[Mistake]]:
    """Import the plugins and read their tables. What is wrong with them comes as mistakes."""
    plugins: list[Plugin] = []
    mistakes: list[Mistake] = []
    modules = dict.fromkeys(map(module_of, names))
    for module in tables:
        if module not in modules:
            # Without quotes a point parts the name.
            parted = next((name for name in modules if name.startswith(f"{module}.")), None)
            near = parted or closest(module, [*modules])
            hint = f'did you mean [plugin."{near}"]?' if near else ""
            mistakes.append(Mistake(where(("plugin", module)), "a module of `plugins`", shown(module), hint))
    read: dict[str, object] = {}
    for name in names:
        module_name = module_of(name)
        try:
            module = _imported(module_name)
            attach = _function(module, name)
        except _Unusable as error:
            mistakes.append(Mistake(where(("plugins",)), error.expected, error.found, error.hint))
            continue
        if module_name not in read:
            table = tables.get(module_name, {})
            try:
                read[module_name] = _read(module, table)
            except ValidationError as error:
                mistakes += _of_model(module_name, error, table, where)
                read[module_name] = None
            mistakes += _unknown_keys(module, module_name, table, where)
        takes = _takes_settings(attach)
        if tables.get(module_name) and not takes:
            expected = f"nothing: {attach.__name__}(app) of {module_name} takes no settings"
            mistakes.append(Mistake(where(("plugin", module_name)), expected, "a table"))
        plugins.append(Plugin(name, attach, read[module_name], takes))
    return plugins, mistakes


def settings_of(plugin: Plugin) -> Mapping[str, Any]:
    """Every setting of a plugin by its key, defaults included; what is secret stays hidden."""
    settings = plugin.settings
    return settings.model_dump() if isinstance(settings, BaseModel) else cast(dict[str, Any], settings or {})


# Modules

_importing: list[str] = []


def refuse_within_import() -> None:
    """Raise `RuntimeError` if a plugin is being imported: it wants an application that waits for it."""
    if _importing:
        raise RuntimeError("a plugin is given the application by attach(app), and must not import it")


@contextmanager
def _import_of(name: str) -> Generator[None]:
    _importing.append(name)
    try:
        yield
    finally:
        _importing.pop()


class _Unusable(Exception):
    def __init__(self, expected: str, found: str, hint: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = found
        self.hint = hint


def _imported(name: str) -> ModuleType:
    directory = getcwd()
    if directory not in sys.path:
        sys.path.append(directory)
    try:
        with _import_of(name):
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _Unusable("a module that is there", f'"{name}" (no module named {error.name})') from None
        _fail(name, error)
    except (Exception, SystemExit) as error:
        _fail(name, error)


def _fail(name: str, error: BaseException) -> NoReturn:
    raise _Unusable("a module that can be imported", f'"{name}" ({told(error)})') from None


def told(error: BaseException) -> str:
    """An exception of a plugin's own in a few words, with the place where it began."""
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError):
        return words
    frames = [frame for frame in extract_tb(error.__traceback__) if _is_of_users(frame.filename)]
    return f"{words}, at {frames[-1].filename}:{frames[-1].lineno}" if frames else words


def _is_of_users(file: str) -> bool:
    return (
        not file.startswith("<")
        and Path(__file__).parents[1] not in Path(file).parents
        and ("importlib" not in Path(file).parts)
    )


def _function(module: ModuleType, name: str) -> Callable[..., object]:
    function = name.partition(":")[2] or ATTACH
    found = getattr(module, function, None)
    if not callable(found):
        near = closest(function, [each for each in vars(module) if callable(getattr(module, each))])
        hint = f'did you mean "{module.__name__}:{near}"?' if near else ""
        raise _Unusable(f"a module with a function {function}(app)", f'"{name}"', hint)
    if iscoroutinefunction(found):
        raise _Unusable(f"{function}(app) to be no coroutine function", f'"{name}"', "listeners may wait")
    return found


def _takes_settings(attach: Callable[..., object]) -> bool:
    """Whether it takes a second argument."""
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    parameters = signature(attach).parameters.values()
    return sum(each.kind in kinds for each in parameters) > 1 or any(
        each.kind is Parameter.VAR_POSITIONAL for each in parameters
    )


# Tables


def _model(module: ModuleType) -> type[BaseModel] | None:
    found: object = getattr(module, MODEL, None)
    # A plugin may import the class of this name that has the gateway's settings.
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        return None
    return None if found.__module__.partition(".")[0] == "coregateway" else found


def _read(module: ModuleType, table: Mapping[str, Any]) -> object:
    model = _model(module)
    return dict(table) if model is None else model.model_validate(dict(table))


def _of_model(name: str, error: ValidationError, table: Mapping[str, Any], where: Where) -> Iterator[Mistake]:
    for each in error.errors(include_url=False, include_context=False):
        key = ("plugin", name, *map(str, each["loc"]))
        if each["type"] == "extra_forbidden":
            continue  # told by `_unknown_keys`
        if each["type"] == "missing":
            yield Mistake(where(key), f"a value, which {name} requires", shown(None))
            continue
        words = each["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        yield Mistake(where(key), words, _found(key[2:], each["input"] if each["loc"] else table))


def _found(key: Sequence[str], value: object) -> str:
    """Not what may be a secret."""
    return "***" if any(map(is_secret, key)) else shown(value)


def is_secret(key: str) -> bool:
    """Whether a key of a plugin's table says that its value is not to be shown."""
    words = key.lower()
    return any(word in words for word in ("pass", "secret", "token", "key", "auth", "credential"))


def _unknown_keys(module: ModuleType, name: str, table: Mapping[str, Any], where: Where) -> Iterator[Mistake]:
    """Keys that a model does not have, unless it says that it allows any."""
    model = _model(module)
    if model is None or model.model_config.get("extra") == "allow":
        return
    known = {key for field, info in model.model_fields.items() for key in (field, info.alias) if key}
    for key in table:
        if key not in known:
            near = closest(key, sorted(known))
            hint = f"did you mean {near}?" if near else ""
            yield Mistake(where(("plugin", name, key)), "a known key", "an unknown one", hint)
