"""The packages show the architecture: imports go one way, and every module is accounted for."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import coregateway

ROOT = Path(coregateway.__file__).parent

LAYERS = (
    ("console_script",),
    ("app", "__main__"),
    ("cli", "demo", "deployment", "testing"),
    ("endpoints",),
    ("observability",),
    ("sanic_app",),
    ("downstream",),
    ("proxy",),
    ("policy",),
    ("upstream",),
    ("node",),
    ("prober",),
    ("settings",),
    ("logs",),
    ("net",),
    ("validation",),
    ("openapi",),
    ("model",),
    ("http1",),
    ("shared_memory",),
    ("compiled",),
)
"""From the outside in. A package imports itself and what is below it; packages of one layer know nothing of
each other. The package's own `__init__` holds the version, which all may know."""

APART = {
    ("__main__", "demo"): "`coregateway demo` is a command",
    ("app", "__main__"): "`python coregateway/app.py` runs the command line",
}
"""Imports within a layer, or upwards, with their reasons."""

KNOW_SANIC = ("app", "__main__", "sanic_app", "endpoints", "observability", "node", "settings", "demo")
"""Packages that may import anything of Sanic."""

PRIVATE_SANIC = ("sanic_app", "node", "settings", "__main__", "demo")
"""Packages that may import what of Sanic is none of `PUBLIC_SANIC`: its inside, and what starts processes."""

PUBLIC_SANIC = (
    "sanic",
    "sanic.response",
    "sanic.exceptions",
    "sanic.request",
    "sanic.server",
    "sanic.constants",
)

NO_SANIC_NO_HTTPX = (
    "downstream",
    "proxy",
    "policy",
    "net",
    "model",
    "http1",
    "shared_memory",
    "openapi",
    "validation",
)


def modules() -> dict[str, Path]:
    """All modules of the package, by their names without its own."""
    found: dict[str, Path] = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] == "__compiled__":
            continue
        found[".".join(parts).removesuffix(".__init__").replace("__init__", "")] = path
    return found


MODULES = modules()


@cache
def imported(path: Path) -> tuple[str, ...]:
    """What a module imports, for the type checker alone, too; our own without the package's name."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            module = node.module or ""
            for name in node.names:
                full = f"{module}.{name.name}"
                own = full.removeprefix("coregateway.")
                yield own if module.startswith("coregateway") and own in MODULES else module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def own_imports(path: Path) -> Iterator[str]:
    for name in imported(path):
        if name == "coregateway":
            continue
        plain = name.removeprefix("coregateway.")
        if plain in MODULES:
            yield plain


def package_of(module: str) -> str:
    return module.partition(".")[0]


def layer_of(module: str) -> int:
    package = package_of(module)
    return next(number for number, layer in enumerate(LAYERS) if package in layer)


def edges() -> Iterator[tuple[str, str]]:
    """Each module with each other that it imports."""
    for module, path in MODULES.items():
        if module:
            yield from ((module, other) for other in own_imports(path))


def test_every_module_belongs_to_a_layer() -> None:
    known = {package for layer in LAYERS for package in layer}
    assert {package_of(module) for module in MODULES if module} == known


def test_imports_go_downwards() -> None:
    upwards: list[str] = []
    for module, other in edges():
        one, another = package_of(module), package_of(other)
        if one == another or (one, another) in APART:
            continue
        if layer_of(module) >= layer_of(other):
            upwards.append(f"{module} must not know {other}")
    assert upwards == []


def test_no_packages_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for module, other in edges():
        one, another = package_of(module), package_of(other)
        if one != another and (one, another) not in APART:
            graph.setdefault(one, set()).add(another)

    def reaches(start: str, target: str, seen: set[str]) -> bool:
        return any(
            following == target or (following not in seen and reaches(following, target, seen | {following}))
            for following in graph.get(start, ())
        )

    assert [package for package in graph if reaches(package, package, set())] == []


def test_every_module_is_named_by_its_package() -> None:
    """By the docstring: a line `module   what it is for`."""
    missing: list[str] = []
    for module in MODULES:
        package, _, name = module.rpartition(".")
        if not package or name == "__main__":
            continue
        words = ast.get_docstring(ast.parse(MODULES[package].read_text())) or ""
        if not any(line.strip().split(" ")[0] == name for line in words.splitlines()):
            missing.append(module)
    assert missing == []


def test_no_package_names_a_module_that_is_not_there() -> None:
    gone: list[str] = []
    for package, path in MODULES.items():
        if path.name != "__init__.py" or not package:
            continue
        for line in (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines():
            name, gap, _ = line.partition("  ")
            if gap and name.isidentifier() and f"{package}.{name}" not in MODULES:
                gone.append(f"{package}.{name}")
    assert gone == []


def test_only_what_knows_sanic_imports_its_inside() -> None:
    found: list[str] = []
    for module, path in MODULES.items():
        names = {name for name in imported(path) if package_of(name) in ("sanic", "sanic_routing")}
        package = package_of(module)
        allowed = package in KNOW_SANIC and (package in PRIVATE_SANIC or names <= set(PUBLIC_SANIC))
        if names and (package in NO_SANIC_NO_HTTPX or not allowed):
            found.append(f"{module} must not know {sorted(names)}")
    assert found == []


def test_only_upstream_and_what_is_above_it_knows_httpx() -> None:
    below = [module for module in MODULES if package_of(module) in NO_SANIC_NO_HTTPX]
    assert [each for each in below if "httpx" in map(package_of, imported(MODULES[each]))] == []


def test_only_what_answers_itself_knows_sanic_ext() -> None:
    """Its import takes 0.1 to 0.2 s, which the command line does without."""
    others = [module for module in MODULES if package_of(module) not in ("sanic_app", "endpoints")]
    assert [each for each in others if "sanic_ext" in map(package_of, imported(MODULES[each]))] == []


def test_names_say_what_a_module_is_for() -> None:
    assert not {"utils", "helpers", "common", "base", "misc"} & {
        part for module in MODULES for part in module.split(".")
    }
