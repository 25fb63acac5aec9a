"""`python -m epochal` is the same program as `epochal`."""

import sys

from epochal.app.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
