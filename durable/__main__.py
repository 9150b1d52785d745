"""The command line: see `durable.cli`."""

import sys

from durable.cli import main

if __name__ == "__main__":
    sys.exit(main())
