"""The original project's network, and the ensemble of three that it planned."""

import torch
from torch import Tensor, nn

from chest_xray.network.stages import StagedNet


class OriginalNet(StagedNet):
    """The original project's network: 10 layers; 3,231,251 parameters if it has three outputs."""

    def __init__(self, outputs: int) -> None:
        super().__init__(widths=(32, 64, 128))
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(64, 128, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.3)
        self.fc1 = nn.Linear(6272, 500)
        self.fc2 = nn.Linear(500, outputs)

    def stage(self, index: int, maps: Tensor) -> Tensor:
        if index == 0:
            x = maps.expand(-1, 3, -1, -1)  # it reads RGB; a radiograph is grey
            x = self.pool(torch.relu(self.conv1(x)))  # (N, 32, 56, 56)
        elif index == 1:
            x = self.pool(torch.relu(self.conv2(maps)))  # (N, 64, 14, 14)
        else:
            x = torch.relu(self.conv3(maps))  # (N, 128, 14, 14)
        return x

    def scores(self, maps: Tensor) -> Tensor:
        x = self.dropout(self.pool(maps).to(self.fc1.weight.dtype).flatten(1))  # (N, 6272)
        x = self.dropout(torch.relu(self.fc1(x)))  # (N, 500)
        logits: Tensor = self.fc2(x)  # (N, outputs)
        return logits


class VotingNet(StagedNet):
    """The original project's plan: a binary classifier of its network for each label, and a vote.

    Each member says how probable its own label is against all others, and votes for it above one
    half. A single vote decides. Where several vote, or none does, the most probable of them
    decides: so in every case it is the label with the largest probability. The logits are the
    logarithms of these probabilities; their softmax is each label's share of the sum.
    """

    def __init__(self, outputs: int) -> None:
        members = [OriginalNet(outputs=1) for _ in range(outputs)]
        super().__init__(members[0].widths)
        self.members = nn.ModuleList(members)

    def stage(self, index: int, maps: Tensor) -> Tensor:
        count = len(self.members)
        parts = [maps] * count if index == 0 else maps.chunk(count, dim=1)
        pairs = zip(self.nets(), parts, strict=True)
        return torch.cat([net.stage(index, part) for net, part in pairs], dim=1)

    def scores(self, maps: Tensor) -> Tensor:
        pairs = zip(self.nets(), maps.chunk(len(self.members), dim=1), strict=True)
        scores = torch.cat([net.scores(part) for net, part in pairs], dim=1)
        return nn.functional.logsigmoid(scores)

    def nets(self) -> list[OriginalNet]:
        """The members, in the order of their labels."""
        return [net for net in self.members if isinstance(net, OriginalNet)]
