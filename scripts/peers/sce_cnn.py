"""The eight-layer CNN of Wang et al. (ICCV 2019) for images of 32x32, named as in SCELoss-Reproduce.

The same network as `fulcrum::SceCnn`; used by tests/golden.
"""

import torch
from torch import nn

WIDTHS = (64, 128, 196)


class Branch(nn.Module):
    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.out_conv = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out_conv(x)


class SceCnn(nn.Module):
    def __init__(self, in_channels: int = 3, classes: int = 10):
        super().__init__()
        for i, channels in enumerate(WIDTHS):
            block = nn.Sequential(Branch(in_channels, channels), Branch(channels, channels), nn.MaxPool2d(2))
            setattr(self, f"block{i + 1}", block)
            in_channels = channels
        self.fc1 = nn.Sequential(nn.Linear(WIDTHS[-1] * 16, 256), nn.BatchNorm1d(256), nn.ReLU())
        self.fc2 = nn.Linear(256, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block3(self.block2(self.block1(x)))
        return self.fc2(self.fc1(x.flatten(1)))
