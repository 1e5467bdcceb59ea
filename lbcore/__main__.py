"""`python -m lbcore`: the command."""

from lbcore.cli import main

if __name__ == "__main__":
    main()
