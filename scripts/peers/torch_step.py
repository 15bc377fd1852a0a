#!/usr/bin/env python3
"""The PyTorch twin of `fulcrum bench`: images/s of one whole training step of a CIFAR ResNet or of
torchvision's, or with --inference of its forward pass.

A step is forward, per-sample cross-entropy, weights (ABSGD: u and p stay on the device, no host synchronisation),
backward, momentum SGD with weight decay, on one random batch that is already in memory.  The result is one JSON line
on stdout: `images_per_s` is the median over chunks of `--chunk` steps.  Inference is the logits alone, in eval mode
under torch.inference_mode; --compile and --jit also freeze the parameters, which folds batch normalisation into the
convolutions.

    torch_step.py --model resnet32 --batch-size 128 --threads 2 --layout channels_last --seconds 10
    torch_step.py --device cuda --amp bf16 --cudnn-benchmark --chunk 50
    torch_step.py --interleave        # a server: every line "run SECONDS" on stdin is answered by a JSON line,
                                      # "quit" or the end of input ends it; a driver alternates rounds with Fulcrum

PyTorch's CPU step is limited by page faults unless malloc keeps its pages; for its best numbers set
MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296 in the environment.
"""

import time

START = time.perf_counter()

import argparse
import json
import math
import os
import resource
import statistics
import sys

import torch
from torch.nn import functional as F

from cifar_resnet import BLOCKS_PER_STAGE, cifar_resnet

TORCHVISION = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d"]
HUGE_STEPS = 10**9


class AbsgdWeights:
    """p of ABSGD: u <- (1-gamma) u + gamma mean exp(l/lambda), u_0 = 0; p_i = exp(l_i/lambda) / (B u)."""

    def __init__(self, lam: float, gamma: float, device: torch.device):
        self.inv = 1.0 / lam
        self.log_keep = math.log1p(-gamma)
        self.log_gain = math.log(gamma)
        self.log_u = torch.full((), -math.inf, device=device)

    def __call__(self, losses: torch.Tensor) -> torch.Tensor:
        scaled = losses.detach() * self.inv
        log_mean = torch.logsumexp(scaled, 0) - math.log(losses.numel())
        log_u = torch.logaddexp(self.log_u + self.log_keep, log_mean + self.log_gain)
        self.log_u.copy_(log_u)
        return torch.exp(scaled - log_u) / losses.numel()


class Step:
    def __init__(self, args: argparse.Namespace):
        torch.manual_seed(args.seed)
        self.batch_size = args.batch_size
        self.device = torch.device(args.device)
        self.amp = args.amp == "bf16"
        memory_format = torch.channels_last if args.layout == "channels_last" else torch.contiguous_format
        size = args.image_size
        images = torch.randn(args.batch_size, args.channels, size, size)
        self.images = images.to(self.device).to(memory_format=memory_format)
        self.labels = torch.randint(0, args.classes, (args.batch_size,)).to(self.device)
        if args.model in TORCHVISION:
            import torchvision  # late: its import is no part of a CIFAR network's first step

            self.model = torchvision.models.get_model(args.model, weights=None, num_classes=args.classes)
        else:
            self.model = cifar_resnet(args.model, args.channels, args.classes)
        self.model = self.model.to(self.device).to(memory_format=memory_format).train(not args.inference)
        self.inference = args.inference
        self.graph = None
        self.last = None
        if args.inference:
            self.objective = self._inference(args)
            return
        self.weights = None
        if args.optimizer == "absgd":
            self.weights = AbsgdWeights(args.risk_lambda, args.gamma, self.device)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=args.lr, momentum=0.9, weight_decay=2e-4, fused=not args.no_fused or None
        )
        self.objective = self._objective
        if args.compile:
            if self.weights is not None:  # else a step that writes it could not be a CUDA graph
                torch._dynamo.mark_static_address(self.weights.log_u)
            self.objective = torch.compile(self._objective, mode=args.compile_mode)

    @torch.no_grad()
    def _inference(self, args: argparse.Namespace):
        """logits = f(images)"""
        if args.jit:
            # Autocast's casts are traced; its cache would make them constants of the trace.
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.amp, cache_enabled=False):
                traced = torch.jit.trace(self.model, self.images)
                return torch.jit.freeze(traced)
        if args.compile:
            from torch._inductor import config as inductor

            inductor.freezing = True
            return torch.compile(self._logits, mode=args.compile_mode)
        return self._logits

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.amp):
            return self.model(images)

    def _objective(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = F.cross_entropy(self._logits(images).float(), labels, reduction="none")
        if self.weights is None:
            return losses.mean()
        return (self.weights(losses) * losses).sum()

    def record(self, warmup: int) -> None:
        """Makes the whole step, update included, one CUDA graph."""
        # What the last step's graph keeps would tie the gradients of leaves to the stream that it ran in.
        self.last = None
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(max(warmup, 3)):
                self.train()
        torch.cuda.current_stream().wait_stream(side)
        self.last = None
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            self.train()
        self.graph = graph

    def __call__(self) -> None:
        if self.inference:
            with torch.inference_mode():
                self.last = self.objective(self.images)
        elif self.graph is None:
            self.train()
        else:
            self.graph.replay()

    def train(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.last = self.objective(self.images, self.labels)
        self.last.backward()
        self.optimizer.step()

    def loss(self) -> float:
        """The last step's; in inference that of its logits."""
        if self.inference:
            return float(F.cross_entropy(self.last.float(), self.labels))
        return float(self.last.detach())

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def measure(step: Step, chunk: int, seconds: float, steps: int = HUGE_STEPS) -> dict:
    """Runs chunks of steps until `seconds` or `steps` is reached; at least one chunk."""
    rates, done = [], 0
    step.synchronize()
    begin = time.perf_counter()
    while done < steps and (done == 0 or time.perf_counter() - begin < seconds):
        start = time.perf_counter()
        for _ in range(chunk):
            step()
        step.synchronize()
        rates.append(chunk * step.batch_size / (time.perf_counter() - start))
        done += chunk
    return {
        "images_per_s": round(statistics.median(rates), 2),
        "images_per_s_max": round(max(rates), 2),
        "steps": done,
        "seconds": round(time.perf_counter() - begin, 3),
    }


def memory(device: torch.device) -> dict:
    peaks = {"peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}
    if device.type == "cuda":
        peaks["device_peak_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
        peaks["device_reserved_mb"] = round(torch.cuda.max_memory_reserved() / 2**20, 1)
    return peaks


def set_device_options(args: argparse.Namespace) -> None:
    if args.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = args.tf32
        torch.backends.cudnn.allow_tf32 = args.tf32  # PyTorch's own default is on
        torch.backends.cudnn.benchmark = args.cudnn_benchmark


def parse_args() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--model", default="resnet32", choices=[*BLOCKS_PER_STAGE, *TORCHVISION])
    p.add_argument("--batch-size", type=int, default=128)
    p.add_argument("--threads", type=int, default=2, help="0: as many as PyTorch takes by itself")
    p.add_argument("--amp", default="off", choices=["off", "bf16"])
    p.add_argument("--layout", default="channels_last", choices=["channels_last", "nchw"])
    p.add_argument("--inference", action="store_true", help="the forward pass of evaluation alone")
    p.add_argument("--jit", action="store_true", help="inference: traced and frozen by TorchScript")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--compile-mode", default="default",
                   choices=["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"])
    p.add_argument("--cuda-graph", action="store_true", help="GPU: record the whole step, update included, as one graph")
    p.add_argument("--tf32", action="store_true", help="GPU: f32 convolutions and matrix products in TF32")
    p.add_argument("--cudnn-benchmark", action="store_true", help="GPU: time cuDNN's algorithms, keep the fastest")
    p.add_argument("--optimizer", default="sgd", choices=["sgd", "absgd"])
    p.add_argument("--lambda", dest="risk_lambda", type=float, default=5.0)
    p.add_argument("--gamma", type=float, default=0.9)
    p.add_argument("--lr", type=float, default=0.1)
    p.add_argument("--no-fused", action="store_true", help="the default SGD kernels in place of the fused one")
    p.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    p.add_argument("--image-size", type=int, default=32)
    p.add_argument("--channels", type=int, default=3)
    p.add_argument("--classes", type=int, default=10)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--steps", type=int, default=HUGE_STEPS, help="stop after this many timed steps")
    p.add_argument("--warmup", type=int, default=3, help="untimed steps at the start (at least 1)")
    p.add_argument("--seconds", type=float, default=10.0, help="stop after this much timed work")
    p.add_argument("--chunk", type=int, default=2, help="steps per timing sample")
    p.add_argument("--interleave", action="store_true", help="serve `run SECONDS` requests from stdin")
    args = p.parse_args()
    if args.model in TORCHVISION and args.channels != 3:
        p.error(f"--channels: expected 3 for {args.model}, got {args.channels}")
    if args.jit and (args.compile or not args.inference):
        p.error("--jit goes with --inference and without --compile")
    if args.inference and (args.cuda_graph or args.optimizer != "sgd"):
        p.error("--inference goes without --cuda-graph and --optimizer")
    if args.device == "cpu" and (args.cuda_graph or args.tf32 or args.cudnn_benchmark):
        p.error("--cuda-graph, --tf32 and --cudnn-benchmark go with --device cuda")
    return args


def main() -> int:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    set_device_options(args)
    step = Step(args)
    step()
    step.synchronize()
    first_step_s, first_step_at = time.perf_counter() - START, time.monotonic()
    for _ in range(args.warmup - 1):
        step()
    if args.cuda_graph:
        step.record(args.warmup)
    about = {
        "model": args.model,
        "batch_size": args.batch_size,
        "threads": torch.get_num_threads(),
        "amp": args.amp,
        "layout": args.layout,
        "inference": args.inference,
        "compile": args.compile_mode if args.compile else False,
        "jit": args.jit,
        "cuda_graph": args.cuda_graph,
        "tf32": args.tf32,
        "optimizer": args.optimizer,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "malloc_keeps_pages": "MALLOC_TRIM_THRESHOLD_" in os.environ,
        "time_to_first_step_s": round(first_step_s, 3),
        "first_step_at": round(first_step_at, 6),  # on the monotonic clock, for the driver that started the program
    }

    def answer(seconds: float) -> None:
        result = measure(step, args.chunk, seconds, args.steps)
        print(json.dumps({**result, "loss": round(step.loss(), 6), **about, **memory(step.device)}), flush=True)

    if not args.interleave:
        answer(args.seconds)
        return 0
    print(json.dumps({"ready": True, **about}), flush=True)
    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        if words[0] == "quit":
            break
        if words[0] != "run" or len(words) != 2:
            print(json.dumps({"error": f"expected `run SECONDS` or `quit`, got {line.strip()!r}"}), flush=True)
            continue
        answer(float(words[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
