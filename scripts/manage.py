"""The same as `chest-xray`, for its verbs about versions: `manage.py list` is `chest-xray list`."""

import sys

from chest_xray_ops.cli import main

if __name__ == "__main__":
    sys.exit(main())
