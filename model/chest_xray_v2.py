"""Version 2.x. TorchServe wants this file to define exactly one class."""

from chest_xray.network.stages import ServedNet
from chest_xray_original import VotingNet


class ChestXrayV2(ServedNet):
    """The ensemble that the original project planned, with a calibration and a gate."""

    title = "the original project's ensemble of one binary classifier per label"
    labels = ("normal", "pneumonia", "covid-19")
    recipe = "voters"

    def __init__(self) -> None:
        super().__init__(VotingNet(len(self.labels)))
