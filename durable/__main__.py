"""Start the command line of `durable.engine.command`."""

import sys

from durable.engine.command import main

if __name__ == "__main__":
    sys.exit(main())
