"""Has hatchling put the machine code into a wheel, by the same means as `make setup`.

A wheel is one for this very Python and platform where the modules of `coregateway.compiled` could be
compiled, and one for any otherwise.
"""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

import compile as compiling


class MachineCode(BuildHookInterface[Any]):
    """For wheels; an installation that is edited compiles by `make setup`, after each change."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the wheel hold what came of it. `version`: of the wheel's kind."""
        if version == "editable":
            return
        compiling.main()
        libraries = compiling.DIRECTORY / compiling.digest()
        if libraries.is_dir():
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            inside = libraries.relative_to(compiling.ROOT).as_posix()
            build_data["force_include"][str(libraries)] = inside
