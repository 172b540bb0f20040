"""Films of children are read by a classifier of their own."""

import torch
from torch import Tensor, nn


class Children(nn.Module):
    """What the network's features say if the film is a child's, and whether it is one.

    One classifier with one calibration cannot be right for both: pneumonia looks otherwise in
    children, and covid-19 is as frequent as the other labels among the films of adults but does not
    occur among those of children.
    """

    temperature: Tensor
    """float32 (), as of a :class:`ServedNet`, but for children."""

    bias: Tensor
    """float32 (labels,), likewise."""

    def __init__(self, width: int, outputs: int) -> None:
        """``width``: the number of channels of the maps that it looks at."""
        super().__init__()
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("bias", torch.zeros(outputs))
        self.recognition = nn.Linear(width, 1)
        self.head = nn.Linear(width, outputs)

    def forward(self, adults: Tensor, maps: Tensor) -> Tensor:
        """The logarithms of probabilities (N, labels): those of adults and those of children, each
        by the probability that the film is one of theirs.

        Args:
            adults: (N, labels), calibrated logits.
            maps: (N, width, h, w), the last ones.
        """
        features = self.features(maps)
        child = self.recognition(features)
        children = self.head(features) / self.temperature + self.bias
        return torch.logaddexp(
            nn.functional.logsigmoid(child) + children.log_softmax(1),
            nn.functional.logsigmoid(-child) + adults.log_softmax(1),
        )

    def features(self, maps: Tensor) -> Tensor:
        """What it looks at: (N, width), the mean of every channel."""
        return maps.to(self.bias.dtype).mean((2, 3))
