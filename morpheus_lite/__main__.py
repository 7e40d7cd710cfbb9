"""``python -m morpheus_lite`` is the command ``morpheus``."""

import sys

from morpheus_lite.cli import main

if __name__ == "__main__":
    sys.exit(main())
