#!/usr/bin/env python3
"""Shares of lines that tests run, folder by folder, from gcovr's summary. Exit status 1 where one is below 90 %.

    scripts/quality/coverage.py build-quality/coverage.json
"""

import json
import sys
from collections import Counter
from pathlib import Path

LEAST = 90  # per cent, of each folder


def main(summary):
    lines, run = Counter(), Counter()
    for file in json.loads(Path(summary).read_text())["files"]:
        # Headers are found through the links in build-quality/coverage/include/fulcrum.
        folder = file["filename"].split("/include/fulcrum/")[-1].split("/")[0]
        lines[folder] += file["line_total"]
        run[folder] += file["line_covered"]
    shares = {folder: 100 * run[folder] / lines[folder] for folder in sorted(lines)}
    print("; ".join(f"{folder} {share:.1f} % of {lines[folder]} lines" for folder, share in shares.items()))
    return not shares or min(shares.values()) < LEAST


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
