"""`python -m glimt.cli`, for places where the `glimt` script is not on the path."""

import sys

from glimt.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
