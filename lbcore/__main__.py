"""The command, `lbcore` or `python -m lbcore`. Where its libraries are missing, it names the extra that brings them."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line."""
    # What is installed beside lbcore is not to change how files are read, and is not searched for at each start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from lbcore import cli
    except ModuleNotFoundError as error:
        if (error.name or "lbcore").partition(".")[0] == "lbcore":
            raise
        sys.exit(f"lbcore: {error.name} is not installed: pip install 'lbcore[proxy]' brings the load balancer")
    cli.main()


if __name__ == "__main__":
    main()
