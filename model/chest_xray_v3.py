"""Version 3.x. TorchServe wants this file to define exactly one class."""

from chest_xray.network.stages import ServedNet
from chest_xray_residual import MEMBERS, ResidualNet


class ChestXrayV3(ServedNet):
    """Residual networks side by side, with a calibration and a gate."""

    title = "three small residual networks side by side"
    labels = ("normal", "pneumonia", "covid-19")
    recipe = "members"

    def __init__(self) -> None:
        super().__init__(ResidualNet(len(self.labels), MEMBERS))
