"""The network of versions 2.x. TorchServe wants this file to define exactly one class."""

from chest_xray.network.stages import ServedNet
from chest_xray_original import VotingNet


class ChestXrayV2(ServedNet):
    """VotingNet, calibrated and with its gate."""

    def __init__(self) -> None:
        super().__init__(VotingNet())
