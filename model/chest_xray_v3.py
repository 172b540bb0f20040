"""The network of versions 3.x. TorchServe wants this file to define exactly one class."""

from chest_xray.network import ServedNet
from chest_xray_residual import SeedsNet


class ChestXrayV3(ServedNet):
    """SeedsNet, calibrated and with its gate."""

    def __init__(self) -> None:
        super().__init__(SeedsNet())
