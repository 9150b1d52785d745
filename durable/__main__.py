"""Start the command line of `durable.cli`."""

import sys

from durable.cli import main

if __name__ == "__main__":
    sys.exit(main())
