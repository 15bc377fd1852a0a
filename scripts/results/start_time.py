#!/usr/bin/env python3
"""Milliseconds that programs take to start and end (--version), in turns: the least and the median.

    scripts/results/start_time.py build/fulcrum build-without-mpi/fulcrum      # cmake -DFULCRUM_MPI=OFF -B build-without-mpi
"""

import statistics
import subprocess
import sys
import time

STARTS = 200


def main():
    programs = sys.argv[1:]
    if not programs or programs[0].startswith("-"):
        sys.exit(__doc__)
    times = {program: [] for program in programs}
    for _ in range(STARTS):
        for program in programs:
            start = time.perf_counter()
            subprocess.run([program, "--version"], check=True, stdout=subprocess.DEVNULL)
            times[program].append(1e3 * (time.perf_counter() - start))
    for program in programs:
        print(f"{program}: least {min(times[program]):.2f} ms, median {statistics.median(times[program]):.2f} ms")


if __name__ == "__main__":
    main()
