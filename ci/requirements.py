"""Print what a pyproject.toml requires for development, one a line: build-time, run-time and the extra `dev`."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text())
names = [
    *project["build-system"]["requires"],
    *project["project"]["dependencies"],
    *project["project"]["optional-dependencies"]["dev"],
]
print("\n".join(dict.fromkeys(names)))
