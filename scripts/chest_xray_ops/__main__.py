"""``python -m chest_xray_ops VERB`` is ``chest-xray VERB``."""

import sys

from chest_xray_ops.cli import main

if __name__ == "__main__":
    sys.exit(main())
