#!/usr/bin/env python3
"""What a step should take on 8 to 1,024 GPUs: a model, not a measurement.

    scripts/results/scaling_model.py                              # ResNet-50, 256 images a GPU, on H100 or H200
    scripts/results/scaling_model.py --step-ms 90 --inter 25      # a measured step, slower links between machines

Assumptions:
- weak scaling: a GPU keeps its batch, so the step without communication stays as it is;
- --step-ms is that of ResNet-50, 256 images, bf16, on one H200 (docs/performance.md);
- gradients are f32 and are summed by a ring (2 (n-1)/n of their bytes pass each link) in a machine, over NVLink, and then
  between machines, where each of a machine's GPUs sums an eighth over its own network card;
- a collective costs a latency for each step of its rings on top, and every bucket is a collective;
- the backward pass is two thirds of the step, and buckets leave at equal distances in it; only what is left after its
  end counts, which is at least the last bucket;
- the risk's gather of losses and the sum of metrics are two small collectives that nothing hides.
"""

import argparse


def ring(gpus, size, bandwidth, latency):
    """Seconds to sum `size` bytes over so many, each with a link of so many bytes a second."""
    return 0.0 if gpus == 1 else 2 * (gpus - 1) / gpus * size / bandwidth + 2 * (gpus - 1) * latency


def tree(gpus, latency):
    """Seconds of a small collective."""
    return 2 * max(gpus - 1, 0).bit_length() * latency


def all_reduce(gpus, size, a):
    inside = min(gpus, a.per_machine)
    machines = gpus // inside
    between = 0.0
    if machines > 1:
        share = size / inside
        # NCCL takes trees where a ring's latency would dominate.
        between = min(ring(machines, share, a.inter * 1e9, a.inter_us * 1e-6),
                      2 * share / (a.inter * 1e9) + tree(machines, a.inter_us * 1e-6))
    return ring(inside, size, a.intra * 1e9, a.intra_us * 1e-6) + between


def step(gpus, a):
    """Seconds of the step, and of what of it is exposed communication."""
    if gpus == 1:
        return a.step_ms / 1e3, 0.0
    size, backward = a.gradient_mb * 1e6, a.step_ms / 1e3 * 2 / 3
    buckets = max(1, -(-int(size) // int(a.bucket_mb * 1e6)))
    each = all_reduce(gpus, size / buckets, a)
    end = 0.0
    for i in range(buckets):
        end = max(end, backward * (i + 1) / buckets) + each
    small = 2 * tree(gpus, (a.inter_us if gpus > a.per_machine else a.intra_us) * 1e-6)
    exposed = end - backward + small
    return a.step_ms / 1e3 + exposed, exposed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step-ms", type=float, default=35.31, help="of one GPU; measured: ResNet-50 on an H200")
    parser.add_argument("--images", type=int, default=256, help="a GPU")
    parser.add_argument("--gradient-mb", type=float, default=102.2, help="25.56 million parameters in f32")
    parser.add_argument("--bucket-mb", type=float, default=25 * 1.048576)
    parser.add_argument("--per-machine", type=int, default=8)
    parser.add_argument("--intra", type=float, default=360, help="GB/s of a GPU's links in the machine that a ring reaches")
    parser.add_argument("--inter", type=float, default=45, help="GB/s of a GPU's network card: 400 Gbit/s, nine tenths of it")
    parser.add_argument("--intra-us", type=float, default=3, help="latency of a step in the machine")
    parser.add_argument("--inter-us", type=float, default=10, help="the same between machines")
    a = parser.parse_args()
    print(f"step of one GPU {a.step_ms:.1f} ms, {a.images} images, gradients {a.gradient_mb:.1f} MB, "
          f"NVLink {a.intra:g} GB/s, network {a.inter:g} GB/s")
    print("| GPUs | step, ms | exposed communication, ms | images/s | efficiency |\n|---|---|---|---|---|")
    for gpus in (1, 8, 16, 32, 64, 128, 256, 512, 1024):
        seconds, exposed = step(gpus, a)
        print(f"| {gpus:,} | {1e3 * seconds:.2f} | {1e3 * exposed:.2f} | {gpus * a.images / seconds:,.0f} | "
              f"{100 * a.step_ms / 1e3 / seconds:.1f} % |")


if __name__ == "__main__":
    main()
