"""The network of version 1.0. TorchServe wants this file to define exactly one class."""

import torch
from torch import Tensor, nn


class ChestXrayNet(nn.Module):
    """The original project's network: 10 layers, 3,231,251 parameters.

    Input float32 (N, 3, 224, 224) in [0, 1], output logits float32 (N, 3).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(64, 128, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.3)
        self.fc1 = nn.Linear(6272, 500)
        self.fc2 = nn.Linear(500, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.conv1(x)))  # (N, 32, 56, 56)
        x = self.pool(torch.relu(self.conv2(x)))  # (N, 64, 14, 14)
        x = self.pool(torch.relu(self.conv3(x)))  # (N, 128, 7, 7)
        x = self.dropout(x.flatten(1))  # (N, 6272)
        x = self.dropout(torch.relu(self.fc1(x)))  # (N, 500)
        logits: Tensor = self.fc2(x)  # (N, 3)
        return logits
