"""Exit with an error unless a tag is the version of the project: `python ci/version.py v1.2.3`."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    found = re.search(r'^__version__ = "(.*)"$', (ROOT / "lbcore" / "__init__.py").read_text(), re.MULTILINE)
    if found is None or not sys.argv[1] == f"v{version}" == f"v{found[1]}":
        sys.exit(f"the tag is {sys.argv[1]}, pyproject.toml has {version}, lbcore.__version__ is {found and found[1]}")
