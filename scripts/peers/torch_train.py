#!/usr/bin/env python3
"""The PyTorch twin of whole training runs: cross entropy and LDAM-DRW of `fulcrum reproduce cifar10-lt` (and -st), on
the images that a Fulcrum run's train_indices.txt lists, and the comparison of the two.

    build/fulcrum reproduce cifar10-lt --ratios 0.01 --methods ce,ldam-drw --epochs 15 --amp bf16 \\
      --data-dir CIFAR --output GRID
    scripts/peers/torch_train.py GRID --ratio 0.01 --epochs 15 --amp bf16 --data-dir CIFAR --output TWIN

Settings come from apps/grids and apps/recipes; they must be those of GRID's runs where it has any of the method.
Everything else is PyTorch's own: its convolutions, its autograd, its SGD, its random numbers.  A finished run is a
file in TWIN and is not trained again.  The result is one JSON object on stdout: of each method the top-1 after the
last and the best epoch (percent, mean and sample sd over the seeds), Fulcrum's from GRID/grid.json, and whether the
means are within two sd, sd being the root of the mean of the two variances.

Needs Python 3.11 with torch and numpy (scripts/peers/setup.sh).
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn import functional as F

from cifar_resnet import cifar_resnet
from lt_settings import differences, of_method
from turns import KEEP_PAGES

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
CLASSES, SIDE = 10, 32
EVAL_BATCH = 500


# ---- data ----


def records(folder: Path, names: list) -> tuple:
    """Images u8 [N, 32, 32, 3] and labels of CIFAR-10's binary files."""
    rows = numpy.concatenate([numpy.fromfile(folder / name, numpy.uint8).reshape(-1, 3073) for name in names])
    images = rows[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return torch.from_numpy(images.copy()), torch.from_numpy(rows[:, 0].astype(numpy.int64))


def index_list(path: Path) -> torch.Tensor:
    lines = path.read_text().splitlines()
    return torch.tensor([int(line) for line in lines if line and not line.startswith("#")])


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """u8 [B, 32, 32, 3] -> f32 [B, 3, 32, 32] in channels_last."""
    x = (pixels.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    return x.permute(0, 3, 1, 2)


def augmented(padded: torch.Tensor, rows: torch.Tensor, flip: bool, generator: torch.Generator) -> torch.Tensor:
    """A random crop of each padded image, and left-right flip of every second one on the average."""
    n, play = len(rows), padded.shape[1] - SIDE
    corner = torch.randint(0, play + 1, (2, n, 1), generator=generator)
    at = torch.arange(SIDE)
    y, x = corner[0] + at, corner[1] + at
    if flip:
        mirrored = torch.rand((n, 1), generator=generator) < 0.5
        x = torch.where(mirrored, x.flip(1), x)
    return normalised(padded[rows[:, None, None], y[:, :, None], x[:, None, :]])


# ---- network and loss ----


class NormedLinear(nn.Module):
    """Cosines between features and class vectors, in f32 (the head of LDAM)."""

    def __init__(self, features: int, classes: int):
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.empty(classes, features).uniform_(-1, 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return F.linear(F.normalize(x.float()), F.normalize(self.weight))


def network(s: dict) -> nn.Module:
    model = cifar_resnet(s["model.name"], 3, CLASSES)
    if s["loss.name"] == "ldam":
        model.fc = NormedLinear(model.fc.in_features, CLASSES)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
    if s["model.dropout"] > 0:
        model.fc = nn.Sequential(nn.Dropout(s["model.dropout"]), model.fc)
    return model.to(memory_format=torch.channels_last)


class Objective:
    """The mean, or from the deferred epoch on PyTorch's weighted mean, of the cross entropy or of LDAM's."""

    def __init__(self, s: dict, counts: torch.Tensor):
        self.s = s
        n = counts.double()
        beta = s["loss.cb_beta"]
        weight = (1 - beta) / (1 - beta**n)
        self.class_weight = (weight * (CLASSES / weight.sum())).float()
        self.margin = (s["loss.ldam_max_m"] * (n.min() / n) ** 0.25).float()

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> torch.Tensor:
        z = logits.float()
        if self.s["loss.name"] == "ldam":
            z = self.s["loss.ldam_scale"] * (z - self.margin * F.one_hot(labels, CLASSES))
        weighs = self.s["loss.class_weights"] == "balanced" and epoch >= self.s["loss.drw_epoch"]
        return F.cross_entropy(z, labels, self.class_weight if weighs else None)


def learning_rate(s: dict, epoch: int) -> float:
    if epoch < s["schedule.warmup"]:
        return s["optim.lr"] * (epoch + 1) / s["schedule.warmup"]
    return s["optim.lr"] * s["schedule.gamma"] ** sum(epoch >= m for m in s["schedule.milestones"])


# ---- a run ----


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, bf16: bool) -> float:
    model.eval()
    correct = 0
    for begin in range(0, len(labels), EVAL_BATCH):
        part = slice(begin, begin + EVAL_BATCH)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(normalised(images[part]))
        correct += (logits.argmax(1) == labels[part]).sum().item()
    return 100 * correct / len(labels)


def train(s: dict, seed: int, data: dict, args: argparse.Namespace) -> dict:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    labels, pad, bf16 = data["train_labels"], s["data.pad"], args.amp == "bf16"
    padded = F.pad(data["train_images"], (0, 0, pad, pad, pad, pad))
    model = network(s)
    objective = Objective(s, torch.bincount(labels, minlength=CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), lr=s["optim.lr"], momentum=s["optim.momentum"],
                                weight_decay=s["optim.weight_decay"])
    course, start = [], time.perf_counter()
    for epoch in range(s["train.epochs"]):
        model.train()
        optimizer.param_groups[0]["lr"] = learning_rate(s, epoch)
        batches = torch.randperm(len(labels), generator=generator).split(s["train.batch_size"])
        if len(batches[-1]) == 1:  # as Fulcrum: batch normalisation cannot train on one image
            batches = batches[:-1]
        for rows in batches[: args.limit_batches or None]:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = model(augmented(padded, rows, s["data.flip"], generator))
            optimizer.zero_grad()
            loss = objective(logits, labels[rows], epoch)
            loss.backward()
            optimizer.step()
        if not math.isfinite(loss.item()):
            raise SystemExit(f"seed {seed}: the loss of epoch {epoch + 1} is {loss.item()}")
        course.append(accuracy(model, data["test_images"], data["test_labels"], bf16))
        print(f"{s['loss.name']} seed {seed} epoch {epoch + 1}/{s['train.epochs']}  loss {loss.item():.4f}  "
              f"test top-1 {course[-1]:.2f}  {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return {"seed": seed, "last": course[-1], "best": max(course), "course": course,
            "seconds": round(time.perf_counter() - start, 1)}


# ---- runs on disk, tables ----


def run_or_read(name: str, s: dict, seed: int, data: dict, args: argparse.Namespace) -> dict:
    """The run's result, from its file where that holds a run of the same settings."""
    file = args.output / f"{args.grid}-{args.ratio}-{name}-seed{seed}.json"
    key = {**s, "amp": args.amp, "limit_batches": args.limit_batches, "images": len(data["train_labels"])}
    if file.exists():
        stored = json.loads(file.read_text())
        if stored["settings"] != key:
            raise SystemExit(f"{file} holds a run of other settings; give the same ones or another --output")
        return stored["result"]
    result = train(s, seed, data, args)
    args.output.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".tmp")
    unfinished.write_text(json.dumps({"settings": key, "result": result}, indent=1) + "\n")
    unfinished.rename(file)
    return result


def spread(values: list) -> dict:
    sd = round(statistics.stdev(values), 3) if len(values) > 1 else None
    return {"mean": round(statistics.mean(values), 3), "sd": sd, "values": values}


def fulcrum_row(table: dict, method: str, ratio: str, epochs: int) -> dict | None:
    for row in table.get("rows", []):
        if row["method"] == method and row["variant"] == ratio and row["epochs"] == epochs:
            return {kind: spread([round(100 * v, 2) for v in row[kind]["top1"]["values"]]) for kind in ("last", "best")}
    return None


def compared(twin: dict, fulcrum: dict) -> dict:
    difference = fulcrum["mean"] - twin["mean"]
    if None in (twin["sd"], fulcrum["sd"]):
        return {"difference": round(difference, 3), "within_two_sd": None}
    sd = math.sqrt((twin["sd"] ** 2 + fulcrum["sd"] ** 2) / 2)
    return {"difference": round(difference, 3), "sd": round(sd, 3), "within_two_sd": abs(difference) <= 2 * sd}


def summary(results: dict, args: argparse.Namespace, settings: dict) -> dict:
    file = args.fulcrum_grid / "grid.json"
    table = json.loads(file.read_text()) if file.exists() else {}
    methods = {}
    for name, runs in results.items():
        twin = {kind: spread([run[kind] for run in runs]) for kind in ("last", "best")}
        methods[name] = {"twin": twin, "seconds": [run["seconds"] for run in runs]}
        fulcrum = fulcrum_row(table, name, args.ratio, settings[name]["train.epochs"])
        if fulcrum:
            methods[name]["fulcrum"] = fulcrum
            methods[name]["fulcrum - twin"] = {kind: compared(twin[kind], fulcrum[kind]) for kind in twin}
    return {"grid": args.grid, "ratio": args.ratio, "seeds": args.seeds, "amp": args.amp, "threads": args.threads,
            "torch": torch.__version__, "methods": methods}


def line(name: str, row: dict) -> str:
    def text(s: dict) -> str:
        return f"{s['mean']:.2f}" + (f" ± {s['sd']:.2f}" if s["sd"] is not None else "")

    parts = [f"{name}: PyTorch last {text(row['twin']['last'])}, best {text(row['twin']['best'])}"]
    if "fulcrum" not in row:
        return parts[0] + "; the grid has no result of it"
    parts.append(f"Fulcrum last {text(row['fulcrum']['last'])}, best {text(row['fulcrum']['best'])}")
    verdict = {True: "agrees within two sd", False: "DIFFERS by more than two sd", None: "no sd of one seed"}
    for kind, c in row["fulcrum - twin"].items():
        parts.append(f"{kind}: {verdict[c['within_two_sd']]} ({c['difference']:+.2f})")
    return "; ".join(parts)


def indices_of(grid: Path, ratio: str) -> Path:
    lists = sorted((grid / ratio).glob("*/seed*/train_indices.txt"))
    if not lists:
        raise SystemExit(f"{grid / ratio}: found no run with a train_indices.txt")
    if len({file.read_bytes() for file in lists}) > 1:
        raise SystemExit(f"{grid / ratio}: its runs have different train_indices.txt")
    return lists[0]


def parse_args() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("fulcrum_grid", type=Path, help="--output of fulcrum reproduce")
    p.add_argument("--grid", default="cifar10-lt", choices=["cifar10-lt", "cifar10-st"])
    p.add_argument("--ratio", default="0.01")
    p.add_argument("--methods", nargs="+", default=["ce", "ldam-drw"])
    p.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    p.add_argument("--epochs", type=int, default=None, help="as --epochs of fulcrum reproduce")
    p.add_argument("--limit-batches", type=int, default=0, help="batches an epoch, to see that it works; 0: all")
    p.add_argument("--amp", default="off", choices=["off", "bf16"])
    p.add_argument("--threads", type=int, default=0, help="0: PyTorch's choice")
    p.add_argument("--data-dir", type=Path, required=True, help="CIFAR-10's binary version")
    p.add_argument("--output", type=Path, required=True, help="a file for every finished run")
    return p.parse_args()


def main() -> int:
    args = parse_args()
    if not KEEP_PAGES.keys() <= os.environ.keys():  # else malloc gives its pages back in every step
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_PAGES})
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = {name: of_method(args.grid, name, args.ratio, args.epochs) for name in args.methods}
    for name, s in settings.items():
        for config in (args.fulcrum_grid / args.ratio / name).glob("seed*/config.toml"):
            if wrong := differences(s, config):
                raise SystemExit("the twin would train with other settings:\n  " + "\n  ".join(wrong))
    images, labels = records(args.data_dir, [f"data_batch_{i}.bin" for i in range(1, 6)])
    chosen = index_list(indices_of(args.fulcrum_grid, args.ratio))
    data = {"train_images": images[chosen], "train_labels": labels[chosen]}
    data["test_images"], data["test_labels"] = records(args.data_dir, ["test_batch.bin"])
    results = {name: [] for name in args.methods}
    for seed in args.seeds:
        for name in args.methods:
            results[name].append(run_or_read(name, settings[name], seed, data, args))
    table = summary(results, args, settings)
    for name, row in table["methods"].items():
        print(line(name, row), file=sys.stderr)
    print(json.dumps(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
