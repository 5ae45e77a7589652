"""`python -m emolib.cli` is `emolib`."""

from __future__ import annotations

import sys

from emolib.cli import main

if __name__ == "__main__":
    sys.exit(main())
