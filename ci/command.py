"""Make this source tree importable in a virtual environment, with its command: `python ci/command.py .venv/bin`.

What an editable installation does, without building the extensions a second time.
"""

import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMAND = """#!{python}
import sys
from lbcore.__main__ import main
sys.exit(main())
"""

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (Path(sysconfig.get_path("purelib")) / "lbcore-source.pth").write_text(f"{ROOT}\n")
    command = folder / "lbcore"
    command.write_text(COMMAND.format(python=folder.resolve() / "python"))
    command.chmod(0o755)
