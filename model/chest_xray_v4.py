"""Version 4.x. TorchServe wants this file to define exactly one class."""

from collections.abc import Sequence

import torch
from torch import Tensor

from chest_xray.network.stages import ServedNet
from chest_xray_orientation import ORIENTATIONS, Orientation, turned_again, turned_upright
from chest_xray_patients import Children
from chest_xray_residual import MEMBERS, ResidualNet


class ChestXrayV4(ServedNet):
    """Residual networks side by side that larger networks taught, with a classifier of
    children's films, a gate, and an eye for films that are turned, mirrored or inverted."""

    title = "three small residual networks side by side, taught by larger ones"
    labels = ("normal", "pneumonia", "covid-19")
    recipe = "students"
    orientations = ORIENTATIONS

    def __init__(self) -> None:
        network = ResidualNet(len(self.labels), MEMBERS)
        super().__init__(network)
        self.of_children = Children(network.head.in_features, len(self.labels))
        self.orientation = Orientation()

    def forward(self, images: Tensor) -> Tensor:
        orientations = self.orientation(images)
        readings = super().forward(turned_upright(images, orientations))
        return torch.cat([readings, orientations], dim=1)

    def calibrated(self, logits: Tensor, maps: Sequence[Tensor]) -> Tensor:
        adults = super().calibrated(logits, maps)
        return self.of_children(adults, maps[-1])  # type: ignore[no-any-return]  # of a module

    def upright(self, images: Tensor) -> Tensor:
        return turned_upright(images, self.orientation(images))

    def as_sent(self, heats: Tensor, images: Tensor) -> Tensor:
        return turned_again(heats, self.orientation(images))
