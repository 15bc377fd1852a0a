"""Golden data of whole networks: one training forward and backward, an evaluation, then some steps of SGD.

Tensors of resnet32, resnet8 and sce_cnn (the CIFAR networks of scripts/peers), torchvision's resnet18 to resnet152 and
resnext50_32x4d with 10 classes, and resnet18 with the stem for CIFAR (3×3, no pooling):
    logits [N,10], losses [N]         training-mode forward (batch statistics), per-sample cross-entropy
    act.<module>                      summary of the output of conv1, bn1 (before its ReLU), every block, fc1 of
                                      sce_cnn; NCHW order
    grad.<name>                       summary of the gradient of mean(losses); conv weights in OIHW order
    buffer.<name>                     summary of running_mean / running_var after that forward (momentum 0.1);
                                      of the CIFAR ResNets only; elsewhere eval.logits has to do
    eval.logits [N,10]                evaluation-mode forward with those buffers, parameters unchanged
    sgd.losses [5]                    all but the CIFAR ResNets: mean(losses) in training mode before each of five updates
                                      of SGD with momentum on the same batch
A summary is f64[18]: sum, L2 norm, 16 samples at flat index (j * numel) // 16.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch.nn import functional as F

import philox

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "peers"))
from cifar_resnet import BLOCKS_PER_STAGE, cifar_resnet  # noqa: E402
from sce_cnn import SceCnn  # noqa: E402

IMAGE_STREAM = 1000
IMAGE_BOUND = 2.0
BATCH = 4
CLASSES = 10
LR, MOMENTUM = 3e-4, 0.9
SGD_STEPS = 5
SEEN = ("conv1", "bn1", "block1", "block2", "block3", "fc1")  # beside the residual blocks


def summary(t) -> np.ndarray:
    flat = np.ascontiguousarray(t.detach().numpy(), dtype=np.float64).reshape(-1)
    samples = flat[[(j * flat.size) // 16 for j in range(16)]]
    return np.concatenate([[flat.sum(), np.linalg.norm(flat)], samples])


def fill_parameters(model: torch.nn.Module) -> None:
    """Stream = position in named_parameters().  Matrices and filters: bound sqrt(6 / fan_in); batch-norm weights:
    1 + symmetric(0.1), but 0.25 + symmetric(0.1) for the last of a bottleneck, without which a network of sixteen is
    chaotic on a few images; all biases: symmetric(0.1)."""
    with torch.no_grad():
        for stream, (name, p) in enumerate(model.named_parameters()):
            if p.dim() > 1:
                value = philox.symmetric(p.shape, math.sqrt(6.0 / p[0].numel()), stream)
            else:
                offset = 0.25 if name.endswith("bn3.weight") else 1.0 if name.endswith("weight") else 0.0
                value = philox.symmetric(p.shape, 0.1, stream, offset)
            p.copy_(torch.from_numpy(value))


def build(name: str, in_channels: int, stem: str) -> torch.nn.Module:
    if name in BLOCKS_PER_STAGE:
        model = cifar_resnet(name, in_channels)
    elif name == "sce_cnn":
        model = SceCnn(in_channels, CLASSES)
    else:
        model = torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
        if stem == "cifar":
            model.conv1 = torch.nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            model.maxpool = torch.nn.Identity()
    model = model.double().train()
    fill_parameters(model)
    return model


def losses_of_steps(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, lr: float) -> np.ndarray:
    optimizer = torch.optim.SGD(model.train().parameters(), lr=lr, momentum=MOMENTUM)
    losses = []
    for _ in range(SGD_STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def network(
    name: str, in_channels: int, size: int, batch: int = BATCH, stem: str = "", lr: float = LR
) -> tuple[dict, dict]:
    model = build(name, in_channels, stem)
    small = name in BLOCKS_PER_STAGE
    shape = (batch, in_channels, size, size)
    images = torch.from_numpy(philox.symmetric(shape, IMAGE_BOUND, IMAGE_STREAM)).double()
    labels = torch.tensor([7 * i % CLASSES for i in range(batch)])

    out, hooks = {}, []
    for path, module in model.named_modules():
        if path in SEEN or type(module).__name__ in ("BasicBlock", "Bottleneck"):
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
        if small and b.is_floating_point():
            out[f"buffer.{path}"] = summary(b)
    model.eval()
    with torch.no_grad():
        out["eval.logits"] = model(images).numpy()
    if not small:
        out["sgd.losses"] = losses_of_steps(model, images, labels, lr)
    about = {
        "model": name,
        "seed": philox.SEED,
        "images": {"shape": list(shape), "bound": IMAGE_BOUND, "stream": IMAGE_STREAM},
        "labels": labels.tolist(),
        "parameters": [path for path, _ in model.named_parameters()],
    }
    if not small:
        about["sgd"] = {"lr": lr, "momentum": MOMENTUM}
    if stem:
        about["stem"] = stem
    return out, about
