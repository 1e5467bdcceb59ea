"""Print what a pyproject.toml requires, one a line: to build, and for extras (`dev` when none is named).

An extra may name others of the same project: `lbcore[proxy]`.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def of_extra(project: dict[str, Any], extra: str) -> Iterator[str]:
    """The requirements of an extra, those of the extras that it names in their place."""
    for requirement in project["optional-dependencies"][extra]:
        if found := re.fullmatch(rf"{project['name']}\[([\w,-]+)\]", requirement):
            for name in found[1].split(","):
                yield from of_extra(project, name)
        else:
            yield requirement


def main() -> None:
    content = tomllib.loads(Path(sys.argv[1]).read_text())
    names = [*content["build-system"]["requires"], *content["project"]["dependencies"]]
    for extra in sys.argv[2:] or ["dev"]:
        names += of_extra(content["project"], extra)
    print("\n".join(dict.fromkeys(names)))


if __name__ == "__main__":
    main()
