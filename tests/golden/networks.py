"""Golden data of whole networks: one training forward and backward of CIFAR ResNets, then an evaluation.

Tensors of resnet32.safetensors and resnet8.safetensors:
    logits [4,10], losses [4]         training-mode forward (batch statistics), per-sample cross-entropy
    act.<module>                      summary of the output of conv1, bn1 (before its ReLU), every block; NCHW order
    grad.<name>                       summary of the gradient of mean(losses); conv weights in OIHW order
    buffer.<name>                     summary of running_mean / running_var after that forward (momentum 0.1)
    eval.logits [4,10]                evaluation-mode forward with those buffers, parameters unchanged
A summary is f64[18]: sum, L2 norm, 16 samples at flat index (j * numel) // 16.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import philox

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "peers"))
from cifar_resnet import cifar_resnet  # noqa: E402

IMAGE_STREAM = 1000
IMAGE_BOUND = 2.0
BATCH = 4


def summary(t) -> np.ndarray:
    flat = np.ascontiguousarray(t.detach().numpy(), dtype=np.float64).reshape(-1)
    samples = flat[[(j * flat.size) // 16 for j in range(16)]]
    return np.concatenate([[flat.sum(), np.linalg.norm(flat)], samples])


def fill_parameters(model: torch.nn.Module) -> None:
    """Stream = position in named_parameters().  Matrices and filters: bound sqrt(6 / fan_in); batch-norm weights:
    1 + symmetric(0.1); all biases: symmetric(0.1)."""
    with torch.no_grad():
        for stream, (name, p) in enumerate(model.named_parameters()):
            if p.dim() > 1:
                value = philox.symmetric(p.shape, math.sqrt(6.0 / p[0].numel()), stream)
            else:
                value = philox.symmetric(p.shape, 0.1, stream, 1.0 if name.endswith("weight") else 0.0)
            p.copy_(torch.from_numpy(value))


def build(name: str, in_channels: int) -> torch.nn.Module:
    model = cifar_resnet(name, in_channels).double().train()
    fill_parameters(model)
    return model


def network(name: str, in_channels: int, size: int) -> tuple[dict, dict]:
    model = build(name, in_channels)
    shape = (BATCH, in_channels, size, size)
    images = torch.from_numpy(philox.symmetric(shape, IMAGE_BOUND, IMAGE_STREAM)).double()
    labels = torch.tensor([7 * i % 10 for i in range(BATCH)])

    out, hooks = {}, []
    for path, module in model.named_modules():
        if path in ("conv1", "bn1") or type(module).__name__ == "BasicBlock":
            def keep(_module, _inputs, y, path=path):
                out[f"act.{path}"] = summary(y)
            hooks.append(module.register_forward_hook(keep))
    logits = model(images)
    for hook in hooks:
        hook.remove()
    losses = F.cross_entropy(logits, labels, reduction="none")
    losses.mean().backward()

    out["logits"], out["losses"] = logits.detach().numpy(), losses.detach().numpy()
    for path, p in model.named_parameters():
        out[f"grad.{path}"] = summary(p.grad)
    for path, b in model.named_buffers():
        if b.is_floating_point():
            out[f"buffer.{path}"] = summary(b)
    model.eval()
    with torch.no_grad():
        out["eval.logits"] = model(images).numpy()
    about = {
        "model": name,
        "seed": philox.SEED,
        "images": {"shape": list(shape), "bound": IMAGE_BOUND, "stream": IMAGE_STREAM},
        "labels": labels.tolist(),
        "parameters": [path for path, _ in model.named_parameters()],
    }
    return out, about
