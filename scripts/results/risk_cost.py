#!/usr/bin/env python3
"""What each risk costs: a training step of SGD with it beside plain SGD's, in turns, and the time of its weights alone.

    scripts/results/risk_cost.py [--rounds 5] [--seconds 1] [--risks kl chi2 …] [--fulcrum build/fulcrum]
                                 [bench options, e.g. --amp bf16]

Every risk has a turn next to one of plain SGD in each round; the ratio is the median over the rounds, with the
smallest and the largest beside it. On a busy machine the turns differ more than the risks do: then the time of the
weights, measured without the rest of the step, says more.
"""
import argparse
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "peers"))
from turns import Server  # noqa: E402

RISKS = ["mean", "kl", "tilted", "kl_ball", "cvar", "chi2", "rgd", "group"]


def server(fulcrum, risk, options):
    return Server(risk, [fulcrum, "bench", "--risk", risk, "--interleave", *options])


def measure(plain, other, args):
    """Of each round: the risk's step over plain SGD's, the step's and the weights' milliseconds."""
    ratios, steps, weights = [], [], []
    for i in range(args.rounds):
        turns = [plain, other] if i % 2 == 0 else [other, plain]
        answers = {id(server): server.run(args.seconds) for server in turns}
        step, own = answers[id(plain)], answers[id(other)]
        ratios.append(own["step_ms"] / step["step_ms"])
        steps.append(step["step_ms"])
        weights.append(own["risk_ms"])
    return ratios, statistics.median(steps), statistics.median(weights)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--risks", nargs="+", default=RISKS, choices=RISKS)
    parser.add_argument("--fulcrum", type=pathlib.Path, default=ROOT / "build" / "fulcrum")
    args, options = parser.parse_known_args()
    plain = server(args.fulcrum, "mean", options)
    plain.run(args.seconds)
    print("| risk | step / plain step | from | to | weights, ms | share of the step |")
    print("|---|---|---|---|---|---|")
    for risk in args.risks:
        other = server(args.fulcrum, risk, options)
        other.run(args.seconds)  # warm
        ratios, step, weights = measure(plain, other, args)
        other.close()
        print(f"| {risk} | {statistics.median(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f} | {weights:.4f} | "
              f"{100 * weights / step:.2f} % |", flush=True)
    plain.close()


if __name__ == "__main__":
    main()
