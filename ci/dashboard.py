"""Build the page of the dashboard with npm: `python ci/dashboard.py` writes `lbcore/dashboard/built/`.

Needs Node 20 (Debian: nodejs, npm). Nothing else of lbcore does: the built files are part of the repository.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1] / "lbcore" / "dashboard"
STAMP = HERE / "built" / "sources.txt"  # of which sources the built files are
SOURCES = ("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")


def digest_of_sources() -> str:
    """A digest of all from which the page is built."""
    total = hashlib.sha256()
    for path in [*(HERE / name for name in SOURCES), *sorted((HERE / "src").rglob("*"))]:
        if path.is_file():
            total.update(path.relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def main() -> int:
    """Returns the exit code."""
    for command in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
        code = subprocess.run(command, cwd=HERE, check=False).returncode
        if code:
            return code
    STAMP.write_text(digest_of_sources() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
