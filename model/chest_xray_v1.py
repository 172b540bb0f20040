"""The network of versions 1.x. TorchServe wants this file to define exactly one class."""

from chest_xray.network.stages import ServedNet
from chest_xray_original import OriginalNet


class ChestXrayV1(ServedNet):
    """OriginalNet, calibrated and with its gate."""

    def __init__(self) -> None:
        super().__init__(OriginalNet())
