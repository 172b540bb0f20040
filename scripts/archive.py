"""The command `archive`; see `--help`."""

import sys

from chest_xray_ops.archive import main
from chest_xray_ops.cli import run

if __name__ == "__main__":
    sys.exit(run(main))
