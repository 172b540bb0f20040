"""Version 1.x. TorchServe wants this file to define exactly one class."""

from chest_xray.network.stages import ServedNet
from chest_xray_original import OriginalNet


class ChestXrayV1(ServedNet):
    """The original project's network, with a calibration and a gate."""

    title = "the original project's network"
    labels = ("normal", "pneumonia", "covid-19")
    recipe = "single"

    def __init__(self) -> None:
        super().__init__(OriginalNet(len(self.labels)))
