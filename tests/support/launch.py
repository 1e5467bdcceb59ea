"""`python -m tests.support.launch STATIC WORKERS`: a supervisor whose workers fail."""

from __future__ import annotations

import sys
from pathlib import Path

from lbcore.config.load import load_static
from lbcore.process import log
from lbcore.process.starting import Program
from lbcore.process.supervisor import supervise

if __name__ == "__main__":
    static = load_static(Path(sys.argv[1]))
    reopen = log.configure(static.log.level, static.log.format, static.log.file_path)
    command = (sys.executable, "-P", "-m", "tests.support.standin")
    sys.exit(supervise(static, int(sys.argv[2]), sys.argv[1], reopen, Program(command)))
