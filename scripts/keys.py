"""The command `keys`; see `--help`."""

import sys

from chest_xray_ops.edge.keys import main

if __name__ == "__main__":
    sys.exit(main())
