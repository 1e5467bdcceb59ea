"""Print what a pyproject.toml requires, one a line: build-time, run-time and an extra (`dev` when none is named)."""

import sys
import tomllib
from pathlib import Path

extra = sys.argv[2] if len(sys.argv) > 2 else "dev"
project = tomllib.loads(Path(sys.argv[1]).read_text())
names = [
    *project["build-system"]["requires"],
    *project["project"]["dependencies"],
    *project["project"]["optional-dependencies"][extra],
]
print("\n".join(dict.fromkeys(names)))
