"""Compile the modules of `coregateway.compiled` with mypyc, unless that was done for the sources as they are.

Never fails: without a C compiler, or when compiling goes wrong, it says so in a line, and the sources run
interpreted. What went wrong lies in `coregateway/__compiled__/`; it is tried again when a source has changed.
"""

import os
import shutil
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT, run
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from coregateway.compiled import DIRECTORY, INTERPRETED, PACKAGE, SOURCES, SUFFIX, digest  # noqa: E402

GROUP = "coregateway.shared_code"
"""The library of all that was compiled; each module's own only leads there."""

LEVEL = os.environ.get("MYPYC_OPT_LEVEL", "3")
"""How far the C compiler optimizes, by the variable that mypy has for it. 0 takes half of the time."""

# Of other modules the compiler knows nothing: what it makes depends on these sources alone.
MYPY = [
    "--follow-imports=skip",
    "--disallow-subclassing-any",
    "--ignore-missing-imports",
    "--config-file=",
    "--no-error-summary",
]


def main() -> None:
    name = digest()
    log = DIRECTORY / f"{name}.log"
    if log.exists() or any((DIRECTORY / name / mark(level)).exists() for level in {LEVEL, "3"}):
        return
    if reason := missing():
        print(f"Not compiled, the sources run interpreted: {reason}")
        return
    print(f"Compiling {len(SOURCES)} modules, which takes minutes; without it all works, slower.", flush=True)
    DIRECTORY.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="coregateway-") as scratch:
        built = run(
            [sys.executable, __file__, scratch],
            cwd=ROOT,
            stdout=PIPE,
            stderr=STDOUT,
            env=os.environ
            | {
                INTERPRETED: "1",
                "CFLAGS": f"{os.environ.get('CFLAGS', '')} -DNDEBUG -s -ffile-prefix-map={scratch}=.",
            },
        )
        if built.returncode:
            log.write_bytes(built.stdout)
            print(f"Not compiled, the sources run interpreted; why: {log.relative_to(ROOT)}")
            return
        if digest() != name:
            print("Not compiled, the sources run interpreted: one has changed meanwhile.")
            return
        install(Path(scratch, "lib"), name)


def mark(level: str) -> str:
    """A file beside the libraries that says how they were compiled; no module has such a name."""
    return f".O{level}"


def missing() -> str | None:
    """What is not there to compile with."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "there is no Python.h"
    return None


def install(libraries: Path, name: str) -> None:
    """Put the libraries in their place, all at once, and those of earlier sources away."""
    earlier = list(DIRECTORY.iterdir())
    with TemporaryDirectory(dir=DIRECTORY) as near:
        whole = Path(near, name)
        whole.mkdir()
        for library in libraries.rglob(f"*{SUFFIX}"):
            module = ".".join(library.relative_to(libraries).parts).removesuffix(SUFFIX)
            shutil.copy(library, whole / f"{module}{SUFFIX}")
        (whole / mark(LEVEL)).touch()
        with suppress(OSError):  # none was there, or another was faster
            (DIRECTORY / name).rename(Path(near, "replaced"))
        with suppress(OSError):
            whole.rename(DIRECTORY / name)
    for path in earlier:
        if path.name != name:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def build(scratch: Path) -> None:
    """Run mypyc, then the C compiler."""
    from mypyc.build import mypycify
    from setuptools import setup

    paths = [str((PACKAGE / source).relative_to(ROOT)) for source in SOURCES]
    options = [*MYPY, f"--cache-dir={scratch / 'cache'}"]
    extensions = mypycify(
        [*options, *paths],
        opt_level=LEVEL,
        debug_level="0",
        group_name=GROUP,
        target_dir=str(scratch / "c"),
    )
    directories = [f"--build-lib={scratch / 'lib'}", f"--build-temp={scratch / 'o'}"]
    setup(name="coregateway", packages=[], ext_modules=extensions, script_args=["build_ext", *directories])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        build(Path(sys.argv[1]))
    else:
        main()
