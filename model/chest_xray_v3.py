"""The network of versions 3.x. TorchServe wants this file to define exactly one class."""

from chest_xray.network.stages import ServedNet
from chest_xray_residual import MEMBERS, ResidualNet


class ChestXrayV3(ServedNet):
    """Residual networks side by side, calibrated and with a gate."""

    def __init__(self) -> None:
        super().__init__(ResidualNet(MEMBERS))
