"""Golden traces of optimisers: ten steps in float64, written to optim.safetensors.

The MLP is Linear(12,16) - ReLU - Linear(16,5) with parameters 0.weight, 0.bias, 2.weight, 2.bias (streams 4000..4003,
symmetric(0.5)).  Step s = 0..9 sees inputs [10,12] = symmetric(1.0) of stream 5000+s and labels (3i + s) % 5.
The traces resnet8_* train ResNet-8 (parameters as in resnet8.safetensors) on images [8,1,28,28] = symmetric(2.0) of
stream 6000+s and labels (3i + s) % 10.

Tensors, before the update of each step:
    <trace>.losses [10]           mean of the plain per-sample cross-entropy
    <trace>.p [10,B]              the weights (with the additive 1/B inside), traces with a risk only
    <trace>.log_u [10]            log u after its update; NaN while 1/lambda is 0 (u is untouched and not yet set)
    <trace>.objective [10]        sum p_i l_i
    <trace>.norm [10]             total gradient norm before clipping, sgd_clip only
    <trace>.final.<parameter>     after the tenth update; the MLP in full
    <trace>.sample_losses [10,B]  and <trace>.final.fc.weight as a summary: resnet8_* only

ABSGD is computed here as written in its reference implementation, without any shift or logarithm:
    u <- (1-gamma) u + gamma alpha mean exp(l/lambda),  u_0 = 0 ("zero") or u_1 = alpha mean exp(l/lambda)
    ("first_batch");  p_i = exp(l_i/lambda) / (B u), + 1/B with `additive`; the gradient is that of sum p_i l_i.
"""

import numpy as np
import torch
from torch.nn import functional as F

import networks
import philox

STEPS = 10


class Risk:
    def __init__(self, lam, gamma=0.9, alpha=1.0, additive=0, u_init="zero", from_step=0):
        self.lam, self.gamma, self.alpha, self.additive = lam, gamma, alpha, additive
        self.u_init, self.from_step = u_init, from_step
        self.u = 0.0 if u_init == "zero" else None

    def weights(self, losses: torch.Tensor, step: int) -> torch.Tensor:
        batch = losses.numel()
        if step < self.from_step:  # lambda = infinity
            return torch.full_like(losses, 1.0 / batch)
        e = torch.exp(losses / self.lam)
        m = self.alpha * float(e.mean())
        self.u = m if self.u is None else (1 - self.gamma) * self.u + self.gamma * m
        return e / (batch * self.u) + self.additive / batch

    def log_u(self) -> float:
        return float(np.log(self.u)) if self.u else float("nan")


SGD, MOMENTUM = {"lr": 0.1}, {"lr": 0.1, "momentum": 0.9, "weight_decay": 2e-4}
ADAM = {"lr": 1e-2, "weight_decay": 1e-2}

# name: (optimizer, its options, risk options or None, clip or None)
MLP_TRACES = {
    "sgd": ("SGD", SGD, None, None),
    "sgd_momentum": ("SGD", {**SGD, "momentum": 0.9, "weight_decay": 1e-2}, None, None),
    "sgd_nesterov": ("SGD", {**SGD, "momentum": 0.9, "weight_decay": 1e-2, "nesterov": True}, None, None),
    "sgd_clip": ("SGD", {**SGD, "momentum": 0.9}, None, 0.65),
    "adam": ("Adam", ADAM, None, None),
    "adamw": ("AdamW", ADAM, None, None),
    "absgd_pos1": ("SGD", MOMENTUM, {"lam": 1, "gamma": 0.9}, None),
    "absgd_pos5": ("SGD", MOMENTUM, {"lam": 5, "gamma": 0.7, "alpha": 0.5}, None),
    "absgd_neg1": ("SGD", MOMENTUM, {"lam": -1, "gamma": 0.9}, None),
    "absgd_neg5_additive": ("SGD", MOMENTUM, {"lam": -5, "gamma": 0.5, "alpha": 0.1, "additive": 1}, None),
    "absgd_first_pos1": ("SGD", MOMENTUM, {"lam": 1, "gamma": 0.5, "u_init": "first_batch"}, None),
    "absgd_first_neg1": ("SGD", MOMENTUM, {"lam": -1, "gamma": 0.5, "u_init": "first_batch"}, None),
    "absgd_tilted_pos1": ("SGD", MOMENTUM, {"lam": 1, "gamma": 1.0}, None),
    "absgd_switch_pos1": (
        "SGD", MOMENTUM, {"lam": 1, "gamma": 0.5, "u_init": "first_batch", "from_step": 4}, None,
    ),
    "abadam_pos1": ("Adam", ADAM, {"lam": 1, "gamma": 0.9}, None),
    "abadamw_pos1": ("AdamW", ADAM, {"lam": 1, "gamma": 0.9}, None),
}
# Odd learning rates on purpose: with these no input of any ReLU comes within 1.3e-6 of zero in the ten steps.  At 0.1
# one comes within 1.4e-8; in float32 it changes sign, and ten steps amplify that to 1e-2.
RESNET_TRACES = {
    "resnet8_pos2": ("SGD", {**MOMENTUM, "lr": 0.096}, {"lam": 2, "gamma": 0.9}, None),
    "resnet8_neg2": ("SGD", {**MOMENTUM, "lr": 0.059}, {"lam": -2, "gamma": 0.9}, None),
}


def mlp(dtype: torch.dtype) -> torch.nn.Module:
    model = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 5)).to(dtype)
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_(torch.from_numpy(philox.symmetric(p.shape, 0.5, 4000 + i)))
    return model


def mlp_batch(step: int):
    x = torch.from_numpy(philox.symmetric((10, 12), 1.0, 5000 + step))
    return x, torch.tensor([(3 * i + step) % 5 for i in range(10)])


def resnet_batch(step: int):
    x = torch.from_numpy(philox.symmetric((8, 1, 28, 28), networks.IMAGE_BOUND, 6000 + step))
    return x, torch.tensor([(3 * i + step) % 10 for i in range(8)])


def trace(model, batch, optimizer, options, risk_options, clip) -> dict:
    """Trains `model` for ten steps; returns the rows that the module's docstring describes."""
    opt = getattr(torch.optim, optimizer)(model.parameters(), **options)
    risk = Risk(**risk_options) if risk_options else None
    rows = {key: [] for key in ("losses", "sample_losses", "p", "log_u", "objective", "norm")}
    dtype = next(model.parameters()).dtype
    for step in range(STEPS):
        images, labels = batch(step)
        losses = F.cross_entropy(model(images.to(dtype)), labels, reduction="none")
        plain = losses.detach()
        p = risk.weights(plain, step) if risk else torch.full_like(plain, 1.0 / plain.numel())
        opt.zero_grad()
        objective = (p * losses).sum()
        objective.backward()
        if clip is not None:
            rows["norm"].append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip)))
        opt.step()
        rows["losses"].append(float(plain.mean()))
        rows["sample_losses"].append(plain.numpy())
        if risk:
            rows["p"].append(p.numpy())
            rows["log_u"].append(risk.log_u())
            rows["objective"].append(float(objective.detach()))
    return {key: np.asarray(value, dtype=np.float64) for key, value in rows.items() if len(value)}


def optim(dtype: torch.dtype = torch.float64) -> tuple[dict, dict]:
    out = {}
    for name, setting in MLP_TRACES.items():
        model = mlp(dtype)
        rows = trace(model, mlp_batch, *setting)
        del rows["sample_losses"]
        out.update({f"{name}.{key}": value for key, value in rows.items()})
        for path, p in model.named_parameters():
            out[f"{name}.final.{path}"] = p.detach().double().numpy()
    for name, setting in RESNET_TRACES.items():
        model = networks.build("resnet8", 1).to(dtype)
        rows = trace(model, resnet_batch, *setting)
        out.update({f"{name}.{key}": value for key, value in rows.items()})
        out[f"{name}.final.fc.weight"] = networks.summary(model.fc.weight.double())
    settings = {
        name: {"optimizer": s[0].lower(), **s[1], **({"risk": s[2]} if s[2] else {}), **({"clip": s[3]} if s[3] else {})}
        for name, s in {**MLP_TRACES, **RESNET_TRACES}.items()
    }
    return out, {"seed": philox.SEED, "steps": STEPS, "traces": settings}
