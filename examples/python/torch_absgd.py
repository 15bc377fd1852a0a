#!/usr/bin/env python3
"""A PyTorch model and a PyTorch optimiser, with sample weights from Fulcrum: ABSGD on imbalanced data.

    python3 examples/python/torch_absgd.py [--lambda 2] [--epochs 20]

Two overlapping clouds of points, 950 of one class and 50 of the other. The per-sample losses go to Fulcrum's KlRisk by
DLPack, the weights come back likewise, and PyTorch differentiates the weighted sum. Any risk of Fulcrum will do. Prints
the recall of the small class with equal weights and with ABSGD's; 1 if ABSGD's is not the larger.
"""
import argparse
import math
import sys

import torch

import fulcrum
from fulcrum.torch import Weigher


def make_data():
    generator = torch.Generator().manual_seed(1)
    labels = (torch.arange(1000) >= 950).long()
    points = torch.randn(1000, 2, generator=generator) + 1.5 * labels[:, None]
    return points, labels


def train(points, labels, risk, epochs):
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    weigher = Weigher(risk)
    for _ in range(epochs):
        for batch in torch.randperm(len(points)).split(100):
            losses = torch.nn.functional.cross_entropy(model(points[batch]), labels[batch], reduction="none")
            optimizer.zero_grad()
            weigher(losses).backward()
            optimizer.step()
    found = model(points).argmax(1)
    return (found[labels == 1] == 1).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lambda", dest="lambda_", type=float, default=1.0, help="temperature, > 0 for imbalance")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    data = make_data()
    plain = train(*data, fulcrum.KlRisk(lambda_=math.inf), options.epochs)
    absgd = train(*data, fulcrum.KlRisk(lambda_=options.lambda_, gamma=0.9), options.epochs)
    print(f"recall of the small class: {plain:.2f} with equal weights, {absgd:.2f} with ABSGD's")
    return int(absgd <= plain)


if __name__ == "__main__":
    status = main()
    if status:
        sys.exit(status)
