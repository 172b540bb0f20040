"""How a worker is taken away while others are asked.

TorchServe takes one away whatever it is doing: requests that are being collected for it are
forgotten, and those that it has at work are answered with 500 and once more by another worker, so
that the caller's next answer is not its own. Only a worker that has nothing but a question of the
operator's may go. Such questions (for a model's description) always come alone. So the operator
leaves an order for a process, asks until that process has been asked, and then has it taken away.
"""

import os
import tempfile
import time
from pathlib import Path

from chest_xray.worker.contract import retirement_order

_STAY_S = 10.0
"""In which the worker is taken away; or else it goes on."""


def stand_still_if_told() -> None:
    """Wait to be taken away, if there is an order for this process."""
    try:
        retirement_order(Path(tempfile.gettempdir()), os.getpid()).unlink()
    except FileNotFoundError:
        return
    time.sleep(_STAY_S)
