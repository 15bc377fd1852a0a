#!/usr/bin/env python3
"""What ABSGD's weights cost: its training step beside plain SGD's, interleaved, several rounds.

    scripts/results/absgd_cost.py [--rounds 9] [--seconds 3] [bench options, e.g. --amp bf16]
"""
import argparse
import json
import pathlib
import statistics
import subprocess

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "build" / "fulcrum"


def server(optimizer, options):
    return subprocess.Popen([PROGRAM, "bench", "--opt", optimizer, "--interleave", *options],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def turn(process, seconds):
    process.stdin.write(f"run {seconds}\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())["images_per_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=3)
    args, options = parser.parse_known_args()
    servers = {name: server(name, options) for name in ("sgd", "absgd")}
    ratios = []
    for i in range(args.rounds):
        order = list(servers) if i % 2 == 0 else list(servers)[::-1]
        rate = {name: turn(servers[name], args.seconds) for name in order}
        ratios.append(rate["sgd"] / rate["absgd"])
        print(f"round {i + 1}: sgd {rate['sgd']:.1f} absgd {rate['absgd']:.1f} images/s", flush=True)
    print(f"absgd step / sgd step: median {statistics.median(ratios):.4f}, "
          f"from {min(ratios):.4f} to {max(ratios):.4f}")


if __name__ == "__main__":
    main()
