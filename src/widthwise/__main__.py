"""``python -m widthwise`` is the same as ``widthwise``."""

import sys

from widthwise.cli import main

if __name__ == "__main__":
    sys.exit(main())
