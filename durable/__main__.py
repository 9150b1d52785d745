"""Start the command line of `durable.engine.cli`."""

import sys

from durable.engine.cli import main

if __name__ == "__main__":
    sys.exit(main())
