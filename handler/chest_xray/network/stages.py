"""What the networks of all versions have in common, so that one handler serves them all."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from chest_xray.network.gate import Gate


class StagedNet(nn.Module):
    """A classifier in stages, so that what lies between them can be looked at.

    A network subclasses it and gives the stages and what makes logits of the last one's maps.
    """

    explained: int = -1
    """The stage whose maps heat maps are made of."""

    def __init__(self, widths: Sequence[int]) -> None:
        """``widths``: channels of the maps of every stage. Where several networks lie side by side
        in one, those of the first, whose channels come first."""
        super().__init__()
        self.widths = tuple(widths)

    def stage(self, index: int, maps: Tensor) -> Tensor:
        """The maps of the stage before, float32 (N, C, h, w), or the images for stage 0 -> maps."""
        raise NotImplementedError

    def scores(self, maps: Tensor) -> Tensor:
        """The last stage's maps -> logits float32 (N, outputs), in the order of the labels."""
        raise NotImplementedError

    def stages(self, maps: Tensor, first: int = 0, end: int | None = None) -> list[Tensor]:
        """The maps of the stages from ``first`` to before ``end``, from what ``first`` takes."""
        found = []
        for index in range(len(self.widths))[first:end]:
            maps = self.stage(index, maps)
            found.append(maps)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Images float32 (N, 1, 224, 224) in [0, 1] -> logits float32 (N, outputs)."""
        return self.scores(self.stages(images)[-1])


class ServedNet(nn.Module):
    """A network, with a calibration that makes its probabilities honest and a gate that tells films
    from other images.

    Each version of the model subclasses it, in a file of its own, and says there what it is.
    """

    labels: ClassVar[tuple[str, ...]]
    """What it can answer, in the order of the logits."""

    title: ClassVar[str]
    """What kind of network it is, in a few words."""

    recipe: ClassVar[str]
    """The name under which training knows how it is trained."""

    temperature: Tensor
    """float32 (); fitted on the validation split, as the bias is; 1 before that."""

    bias: Tensor
    """float32 (labels,), added to the logits after the temperature; 0 before that."""

    def __init__(self, network: StagedNet) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("bias", torch.zeros(len(self.labels)))
        self.gate = Gate(network.widths)  # what one network sees is enough to tell

    def forward(self, images: Tensor) -> Tensor:
        """What serving asks.

        Args:
            images: float32 (N, 1, 224, 224) in [0, 1].

        Returns:
            float32 (N, labels + 1): calibrated logits, whose softmax is what the probabilities
            are, and the gate's logit of being a frontal chest film.
        """
        maps = self.network.stages(images)
        logits = self.network.scores(maps[-1]) / self.temperature + self.bias
        return torch.cat([logits, self.gate(images, maps)[:, None]], dim=1)
