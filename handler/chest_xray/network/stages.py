"""What the networks of all versions have in common, so that one handler serves them all."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from chest_xray.network.gate import Gate

OPERATING_POINTS = ("high_sensitivity", "balanced", "high_specificity")
"""What the thresholds on a label's probability are named for."""
SURE = 0.9
"""The probability of an orientation from which it is believed."""


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

    orientations: ClassVar[tuple[str, ...]] = ()
    """What it can say of how a film was taken or stored, in the order of the outputs behind the
    gate's; the first says that all is well. Empty if it does not look at that."""

    temperature: Tensor
    """float32 (); fitted on the validation split, as the bias is; 1 before that."""

    bias: Tensor
    """float32 (labels,), added to the logits after the temperature; 0 before that."""

    operating_points: Tensor
    """float32 (labels, 3): thresholds on each label's probability, in the order of
    ``OPERATING_POINTS``; chosen on the validation split, 0 before that."""

    def __init__(self, network: StagedNet) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("bias", torch.zeros(len(self.labels)))
        points = torch.zeros(len(self.labels), len(OPERATING_POINTS))
        self.register_buffer("operating_points", points)
        self.gate = Gate(network.widths)  # what one network sees is enough to tell

    def forward(self, images: Tensor) -> Tensor:
        """What serving asks.

        Args:
            images: float32 (N, 1, 224, 224) in [0, 1].

        Returns:
            float32 (N, labels + 1 + orientations): calibrated logits, whose softmax is what the
            probabilities are, the gate's logit of being a frontal chest film, and the logits of
            the orientations, if it has any.
        """
        maps = self.network.stages(images)
        logits = self.calibrated(self.network.scores(maps[-1]), maps)
        return torch.cat([logits, self.gate(images, maps)[:, None]], dim=1)

    def calibrated(self, logits: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """The network's logits (N, labels) -> those whose softmax is honest.

        Args:
            maps: of every stage, by which a version may tell kinds of films apart.
        """
        return logits / self.temperature + self.bias

    def upright(self, images: Tensor) -> Tensor:
        """The images as :meth:`forward` shows them to the network, float32 (N, 1, 224, 224): a
        version may turn films that lie on their side."""
        return images

    def as_sent(self, heats: Tensor, images: Tensor) -> Tensor:
        """Heat maps (N, h, w) of what :meth:`upright` made of the images -> of the images as they
        were."""
        return heats
