#!/usr/bin/env python3
"""Bytes that a training step of ResNet-32 and ResNet-50 moves through a GPU's memory, computed from the shapes: each
kernel of core/cuda reads and writes its tensors once for every pass that it makes, and nothing stays in a cache.
The shortcuts of ResNet-32, its pooling and the loss are left out: they are small.

    scripts/results/step_bytes.py [--bytes 2] [--bandwidth 4.3]     bf16 activations; TB/s, for the time at the end

Needs PyTorch and torchvision; nothing is computed, so any machine will do.
"""
import argparse
import sys
from collections import Counter
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))
from cifar_resnet import cifar_resnet

PARAMETER = 4  # bytes of a parameter, its gradient and its momentum


def network(name):
    if name == "resnet32":
        return cifar_resnet(name), 32
    import torchvision

    return torchvision.models.get_model(name, weights=None), 224


def last_norms(model):
    """The batch norms that add the residual: the last of each block, its shortcut apart."""
    found = set()
    for name, module in model.named_modules():
        norms = [n for n, m in module.named_children() if isinstance(m, nn.BatchNorm2d)]
        if norms and name:
            found.add(f"{name}.{norms[-1]}")
    return {n for n in found if "downsample" not in n}


def passes(name, residual):
    """Passes over the activation of batch norm (+ residual) (+ ReLU): forward, gradient."""
    relu = "downsample" not in name
    forward = 2 + residual + 1          # x for the sums; x (and the residual), y
    gradient = 2 * (2 + relu) + 1       # dy, x (and y, where a ReLU follows) twice; dx
    return forward, gradient + residual  # and the residual's gradient


def step_bytes(name, batch, size):
    model, side = network(name)
    model = model.to("meta").train()
    adding, moved, flops = last_norms(model), Counter(), 0
    blocks = {name.rpartition(".")[0] for name in adding}

    def hook(layer):
        def count(module, inputs, output):
            nonlocal flops
            x, y = inputs[0].numel() * size, output.numel() * size
            if isinstance(module, nn.Conv2d):
                w = module.weight.numel() * size
                moved["convolution"] += x + w + y
                moved["convolution, gradient of the weight"] += x + y + w
                images = inputs[0].shape[1] == 3  # their gradient is left out
                moved["convolution, gradient of the data"] += 0 if images else x + w + y
                per = 2 * output.numel() * module.weight[0].numel()
                flops += per * (2 if images else 3)
            elif isinstance(module, nn.BatchNorm2d):
                forward, gradient = passes(layer, layer in adding)
                moved["batch norm (+ residual) (+ ReLU)"] += forward * y
                moved["batch norm, gradient"] += gradient * y
            elif layer in blocks:
                moved["sum of the gradients of a block's input"] += 3 * x
            elif isinstance(module, (nn.MaxPool2d, nn.AdaptiveAvgPool2d)):
                moved["pooling, both ways"] += 2 * (x + y)
        return count

    for layer, module in model.named_modules():
        module.register_forward_hook(hook(layer))
    model(torch.empty(batch, 3, side, side, device="meta"))
    parameters = sum(p.numel() for p in model.parameters())
    # Reads parameter, gradient, momentum; writes parameter, momentum, the bf16 twin; clearing the gradient.
    moved["update"] += parameters * (6 * PARAMETER + (2 if size == 2 else 0))
    return moved, flops


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bytes", type=int, default=2, choices=[2, 4], help="of an activation")
    parser.add_argument("--bandwidth", type=float, default=None, help="TB/s: prints the time of the whole")
    args = parser.parse_args()
    for name, batch in (("resnet32", 128), ("resnet50", 256)):
        moved, flops = step_bytes(name, batch, args.bytes)
        total = sum(moved.values())
        print(f"{name}, batch {batch}: {total / 1e9:.2f} GB, {flops / 1e12:.2f} TFLOP in convolutions")
        for kind, count in moved.most_common():
            print(f"  {kind:40} {count / 1e9:8.3f} GB {100 * count / total:5.1f} %")
        if args.bandwidth:
            print(f"  at {args.bandwidth} TB/s: {total / args.bandwidth / 1e9:.3f} ms")


if __name__ == "__main__":
    main()
