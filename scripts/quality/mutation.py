#!/usr/bin/env python3
"""Puts faults into a copy of the sources, one at a time, and counts those that the tests notice.

    scripts/quality/mutation.py [--jobs 2] [--only TEXT]     # --only: faults whose file or words contain TEXT
    scripts/quality/mutation.py --every 3                    # a third of them, evenly
    scripts/quality/mutation.py --check                      # the table against the sources alone: no build

The faults are those of scripts/quality/faults/*.toml: a text that stands exactly once in a file, and what it becomes. For
each the engine is built anew in build-quality/mutation, and tests run until the first failure: those of FILES, or for a
fault in device code the emulator's, with the threads of a block in both orders. A fault
that no test notices means a missing test, or a fault that changes nothing: then it leaves the table. Exit status: 1 where fewer than 95 % are noticed, 2 where the table does not fit the sources.
"""

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TABLES = sorted((ROOT / "scripts/quality/faults").glob("*.toml"))
WORK = ROOT / "build-quality/mutation"
TREE = WORK / "tree"
BUILD = TREE / "build"  # inside, as build/ is: then ccache has most of it already
COPIED = ["CMakeLists.txt", "cmake", "core", "layers", "optim", "data", "tests"]
LEAST_FAULTS, LEAST_SHARE = 50, 0.95

# The tests of the tape, of operations, losses, risks and optimisers.
FILES = "aldr_kl|autograd|class_vectors|communicator|dro|kernels|kl_ball|norm|ops|optim|risk|risks|saved"
# Otherwise as the usual build, so that ccache has most of it already.
OPTIONS = ["-DCMAKE_BUILD_TYPE=Release", "-DFULCRUM_APPS=OFF", "-DFULCRUM_CUDA=OFF", "-DFULCRUM_INSTALL=OFF",
           "-DFULCRUM_PYTHON=OFF", f"-DFULCRUM_TEST_FILES={FILES}"]


@dataclass(frozen=True, eq=False)
class Suite:
    target: str
    flags: tuple = ()
    environments: tuple = ({},)  # a run in each


HOST = Suite("fulcrum_tests")
EMULATOR = Suite("fulcrum_simt_tests", ("--gtest_filter=*Cuda*",), tuple(
    {"FULCRUM_TEST_DEVICE": "cuda", "FULCRUM_SIMT_ORDER": order, "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"}
    for order in ("forward", "reversed")))


@dataclass
class Fault:
    area: str  # the table that it is in
    file: str
    what: str
    old: str
    new: str

    @property
    def suite(self):
        return EMULATOR if self.file.startswith("core/cuda/") else HOST

    def line(self):
        text = (ROOT / self.file).read_text()
        return text[:text.index(self.old)].count("\n") + 1

    def __str__(self):
        return f"{self.file}:{self.line()}: {self.what}"


def read_tables():
    """The faults, in the order of files, and what is wrong with the tables."""
    faults, errors = [], []
    for table in TABLES:
        for file, section in tomllib.loads(table.read_text()).items():
            path = ROOT / file
            text = path.read_text() if path.is_file() else ""
            if not text:
                errors.append(f"{table.name}: no file {file}")
            for fault in section["faults"]:
                count = text.count(fault["old"])
                if text and count != 1:
                    errors.append(f"{table.name}: {file}: '{fault['what']}': expected its text once, got {count} times: {fault['old']}")
                if fault["old"] == fault["new"]:
                    errors.append(f"{table.name}: {file}: '{fault['what']}': expected another text than the old one")
                faults.append(Fault(table.stem, file, **fault))
    if len(faults) < LEAST_FAULTS:
        errors.append(f"expected at least {LEAST_FAULTS} faults, got {len(faults)}")
    return faults, errors


def copy_tree():
    """Makes TREE like the sources; what has not changed keeps its time, so that little is compiled again."""
    wanted = set()
    for name in COPIED:
        start = ROOT / name
        for source in [start] if start.is_file() else sorted(p for p in start.rglob("*") if p.is_file()):
            if "__pycache__" in source.parts:
                continue
            target = TREE / source.relative_to(ROOT)
            wanted.add(target)
            if not target.is_file() or not filecmp.cmp(source, target, shallow=False):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
    for target in [p for p in TREE.rglob("*") if p.is_file() and p not in wanted and BUILD not in p.parents]:
        target.unlink()


def build(jobs, suite):
    return subprocess.run(["cmake", "--build", BUILD, "--parallel", str(jobs), "--target", suite.target],
                          capture_output=True, text=True)


def run_tests(program, suite, limit):
    """(what failed first or None, seconds)."""
    start = time.monotonic()
    # GCC 12's sanitizer refuses the addresses that newer kernels draw at random.
    fixed = ["setarch", "--addr-no-randomize"] if suite is EMULATOR and shutil.which("setarch") else []
    for own in suite.environments:
        environment = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE", **own}
        try:
            run = subprocess.run([*fixed, program, "--gtest_brief=1", "--gtest_fail_fast", *suite.flags], env=environment,
                                 capture_output=True, text=True, errors="replace", timeout=limit)
        except subprocess.TimeoutExpired:
            return "the time limit", limit
        if run.returncode:
            failed = [line.split("] ")[1].split(" (")[0].split(",")[0] for line in run.stdout.splitlines()
                      if line.startswith("[  FAILED  ]")]
            return failed[0] if failed else f"exit status {run.returncode}", time.monotonic() - start
    return None, time.monotonic() - start


def fail(*lines):
    for line in lines:
        print(f"mutation: {line}", file=sys.stderr)
    sys.exit(2)


def try_all(faults, jobs):
    """[(fault, what noticed it or None)], built one after the other while the tests of those before run."""
    copy_tree()
    subprocess.run(["cmake", "-S", TREE, "-B", BUILD, "-G", "Ninja", *OPTIONS], check=True, stdout=subprocess.DEVNULL)
    seconds = {}
    for suite in dict.fromkeys(fault.suite for fault in faults):
        run = build(jobs, suite)
        if run.returncode:
            fail("the sources do not build as they are", run.stdout[-4000:])
        noticed, seconds[suite.target] = run_tests(BUILD / suite.target, suite, 1800)
        if noticed:
            fail(f"without a fault, the tests fail: {noticed}")
        print(f"without a fault: {suite.target} pass in {seconds[suite.target]:.0f} s", flush=True)

    def test(fault, copy):
        noticed, _ = run_tests(copy, fault.suite, 60 + 10 * seconds[fault.suite.target])
        copy.unlink()
        print(f"{'noticed ' if noticed else 'SURVIVED'}  {fault}" + (f"  ({noticed})" if noticed else ""), flush=True)
        return fault, noticed

    results, broken = [], []
    with ThreadPoolExecutor(max(1, jobs // 2)) as pool:
        for number, fault in enumerate(faults):
            target = TREE / fault.file
            target.write_text((ROOT / fault.file).read_text().replace(fault.old, fault.new))
            run = build(jobs, fault.suite)
            copy = WORK / f"fault-{number}"
            if run.returncode == 0:
                shutil.copy(BUILD / fault.suite.target, copy)
                results.append(pool.submit(test, fault, copy))
            # Put back before the next one; it is compiled again only where that one is in another file.
            target.write_text((ROOT / fault.file).read_text())
            if run.returncode:
                broken.append(f"{fault}: does not compile\n{run.stdout[-2000:]}")
        if broken:
            fail(*broken)
        return [result.result() for result in results]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare the tables with the sources, and no more")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="compilations at once (default: all processors)")
    parser.add_argument("--only", default="", metavar="TEXT", help="the faults whose file or description contains TEXT")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th of these alone")
    arguments = parser.parse_args()
    if arguments.jobs < 1 or arguments.every < 1:
        parser.error("expected --jobs and --every of at least 1")
    faults, errors = read_tables()
    if errors:
        fail(*errors)
    if arguments.check:
        print(f"mutation: {len(faults)} faults fit the sources")
        return
    chosen = [fault for fault in faults if arguments.only in f"{fault.file} {fault.what}"][::arguments.every]
    if not chosen:
        fail(f"no fault contains '{arguments.only}'")
    results = try_all(chosen, arguments.jobs)
    for area in sorted({fault.area for fault in chosen}):
        part = [noticed is not None for fault, noticed in results if fault.area == area]
        print(f"{area}: {sum(part)} of {len(part)} faults noticed")
    noticed = sum(noticed is not None for _, noticed in results)
    share = noticed / len(results)
    print(f"mutation: {noticed} of {len(results)} faults noticed ({100 * share:.1f} %)")
    sys.exit(share < LEAST_SHARE)


if __name__ == "__main__":
    main()
