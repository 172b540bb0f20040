"""The command `edge`; see `--help`."""

import sys

from chest_xray_ops.edge.nginx import main

if __name__ == "__main__":
    sys.exit(main())
