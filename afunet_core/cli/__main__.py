"""``python -m afunet_core.cli``: the same as ``afunet``."""

import sys

from afunet_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
