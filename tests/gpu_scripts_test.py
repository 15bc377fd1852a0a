#!/usr/bin/env python3
"""The scripts for a machine with a GPU, where there is none: they parse, dry runs plan every stage, ctest is asked for
what was built and for no more, and gpu_step.py judges its contestants, for which small servers stand in.

    tests/gpu_scripts_test.py --build build [--ctest ctest]
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS / "peers"))
import gpu_step  # noqa: E402

OPTIONS = argparse.Namespace()
STAGES = {  # and of each some of its steps
    "tests": ["configure", "build", "operations on the device", "golden values on the device", "CUDA tests",
              "recorded against eager training", "tests of the CPU"],
    "sanitize": ["build", "memcheck", "racecheck", "initcheck"],
    "r32": ["build", "steps of resnet32 in turns with PyTorch"],
    "r50": ["build", "steps of resnet50 in turns with PyTorch"],
    "risks": ["build", "what the risks cost a step of resnet50", "what the risks cost a step of resnet32"],
    "train": ["build", "train sgd", "train absgd"],
}


def output_of(command, **environment):
    done = subprocess.run([str(word) for word in command], env={**os.environ, **environment}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def dry_run(stage, *flags, **environment):
    build = {"FULCRUM_GPU_BUILD": "/nowhere"}  # not what an earlier run may have left
    return output_of([SCRIPTS / "gpu_check.sh", "--stage", stage, "--dry-run", *flags], **{**build, **environment})


class Shell(unittest.TestCase):
    def test_every_script_parses(self):
        for script in sorted(SCRIPTS.rglob("*.sh")):
            with self.subTest(script.name):
                output_of(["bash", "-n", script])

    def test_a_dry_run_plans_every_stage(self):
        for stage, steps in STAGES.items():
            with self.subTest(stage):
                plan = dry_run(stage)
                for step in steps:
                    self.assertRegex(plan, rf"(?m)^ *\d+\. {re.escape(step)}")

    def test_the_device_is_asked_for(self):
        plan = dry_run("tests")
        for step in ("operations on the device", "golden values on the device"):
            self.assertRegex(plan, rf"{step} .*\n.* FULCRUM_TEST_DEVICE=cuda ")

    def test_sgd_is_trained_without_a_risk(self):
        plan = dry_run("train")
        plain, weighted = (re.search(rf"train {name} .*\n(.*)", plan)[1] for name in ("sgd", "absgd"))
        self.assertIn("--risk mean", plain)
        self.assertNotIn("--risk", weighted)
        for command in plain, weighted:
            self.assertIn("loss.class_weights=none", command)

    def test_cases_are_picked(self):
        plan = dry_run("r50", "--cases", "b256 tf32")
        self.assertEqual(set(re.findall(r"resnet50 (b\d+ \w+), ", plan)), {"b256 tf32"})

    def test_an_unknown_stage_is_refused(self):
        self.assertRaisesRegex(AssertionError, "expected tests, sanitize", dry_run, "speed")


class LeftToCtest(unittest.TestCase):
    def registered(self, *flags):
        with tempfile.TemporaryDirectory() as folder:  # not in the build, whose log it would overwrite
            (Path(folder) / "CTestTestfile.cmake").write_text(f'subdirs("{OPTIONS.build}")\n')
            listed = output_of([OPTIONS.ctest, "--test-dir", folder, "--show-only=json-v1", *flags])
        return {test["name"]: test.get("command") for test in json.loads(listed)["tests"]}

    def test_is_what_was_built(self):
        program = OPTIONS.build / "fulcrum_tests"
        if not program.exists():
            self.skipTest(f"no {program}")
        plan = dry_run("tests", FULCRUM_GPU_BUILD=str(OPTIONS.build))
        built = {OPTIONS.build / name for name in re.search(r"--target (.*)", plan)[1].split()}
        chosen = self.registered("-R", re.search(r"/ctest .* -R (\S+)", plan)[1])
        self.assertIn("GettingStarted", chosen)
        absent = sorted(name for name, command in chosen.items() if command is None)
        if absent:
            self.skipTest(f"the programs of these tests are not built: {absent}")
        for name, command in chosen.items():
            of_build = {Path(word) for word in command if Path(word).is_relative_to(OPTIONS.build)}
            self.assertLessEqual(of_build, built, name)
        suites = {name for name, command in self.registered().items() if command and command[0] == str(program)}
        self.assertEqual({name for name in suites - set(chosen) if not name.startswith("Cuda")}, set())


# Answers with its first argument; a contestant that announces itself has "ready" as the second, one that hangs "never", one
# that ends after two answers "ends".
SERVER = """
import sys, time
if sys.argv[2] == "never": time.sleep(60)
if sys.argv[2] == "ready": print("{}", flush=True)
for i, line in enumerate(sys.stdin):
    if sys.argv[2] == "ends" and i == 2: sys.exit(5)
    print(sys.argv[1], flush=True)
"""


class Steps(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name) / "steps.jsonl"
        self.answers, self.never, self.ends = {}, set(), set()
        self.patch(gpu_step, "PAUSE", 0)
        self.patch(gpu_step, "command_of", self.command_of)
        for stream in ("stdout", "stderr"):
            self.patch(sys, stream, io.StringIO())

    def patch(self, owner, name, value):
        patcher = mock.patch.object(owner, name, value)
        patcher.start()
        self.addCleanup(patcher.stop)

    def command_of(self, args, name, batch, precision):
        torch = name.startswith("torch")
        answer = {"images_per_s": 100 if torch else 300, "peak_mb": 1, "device_peak_mb": 40 if torch else 30,
                  "device_reserved_mb": 80 if torch else 40, **({} if torch else {"system_requests": 0})}
        kind = "never" if name in self.never else "ends" if name in self.ends else "ready" if torch else ""
        return [sys.executable, "-c", SERVER, json.dumps({**answer, **self.answers.get(name, {})}), kind]

    def args(self, *flags):
        with mock.patch.object(sys, "argv", ["gpu_step.py", "--model", "resnet32", "--cases", "b128 bf16", "--rounds", "2",
                                             "--seconds", "0", "--out", str(self.out), *flags]):
            return gpu_step.parse_args()

    def run_case(self, args):
        results = gpu_step.Results(args.out)
        gpu_step.run_case(args, gpu_step.CASES["resnet32"][0], results)
        results.close()
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def test_ratios_of_rates_and_of_memory(self):
        self.answers["fulcrum graph of 8 sgd"] = {"images_per_s": 450}
        self.answers["fulcrum eager absgd"] = {"images_per_s": 150}
        args = self.args()
        *rows, last = self.run_case(args)
        self.assertEqual((args.failures, last["failed"]), ([], []))
        self.assertEqual({row["contestant"] for row in rows}, set(gpu_step.contestants(args, 128, "bf16")))
        found = last["ratios"]
        self.assertEqual(found["fulcrum / torch eager"], 3)
        self.assertEqual(found["graph of 8 steps / of 1"], 1.5)
        self.assertEqual(found["graph / eager, absgd"], 2)
        for label in ("fulcrum / torch eager", "fulcrum / torch compiled", "fulcrum / torch compiled, whole step"):
            self.assertEqual(found[f"memory, peak: {label}"], 0.75)
            self.assertEqual(found[f"memory, reserved: {label}"], 0.5)

    def test_who_asks_for_memory_after_its_warm_up_has_failed(self):
        self.answers["fulcrum eager sgd"] = {"system_requests": 3}
        args = self.args()
        *rows, last = self.run_case(args)
        self.assertEqual(last["failed"], ["fulcrum eager sgd"])
        self.assertRegex(args.failures[0], "fulcrum eager sgd: asked the system for memory 9 times after its warm-up")
        self.assertEqual([row["contestant"] for row in rows if "error" in row], ["fulcrum eager sgd"])
        self.assertIn("graph / eager", last["ratios"])  # measured all the same

    def test_without_time_nothing_begins_and_nothing_fails(self):
        args = self.args("--budget", "0")
        *_, last = self.run_case(args)
        self.assertEqual(last["left_out"], gpu_step.contestants(args, 128, "bf16"))
        self.assertEqual(args.failures, [])

    def test_who_is_not_ready_in_time_is_left_out(self):
        self.patch(gpu_step, "contestants", lambda *_: [gpu_step.REFERENCE, "torch compiled sgd"])
        self.patch(gpu_step, "START_SECONDS", 0)
        self.never.add("torch compiled sgd")
        args = self.args()
        args.deadline = time.monotonic() + 5
        measured, _, last = self.run_case(args)
        self.assertEqual((measured["contestant"], measured["median"]), (gpu_step.REFERENCE, 300))
        self.assertEqual((last["left_out"], args.failures), (["torch compiled sgd"], []))

    def test_who_ends_between_turns_keeps_its_rounds_and_leaves_the_others_theirs(self):
        self.patch(gpu_step, "contestants", lambda *_: [gpu_step.REFERENCE, "fulcrum graph absgd"])
        self.ends.add(gpu_step.REFERENCE)
        args = self.args("--rounds", "3")
        *_, first, second, last = self.run_case(args)
        self.assertEqual({row["contestant"]: len(row["rounds"]) for row in (first, second)},
                         {gpu_step.REFERENCE: 1, "fulcrum graph absgd": 3})
        self.assertEqual((last["failed"], len(args.failures)), ([gpu_step.REFERENCE], 1))
        self.assertIn("ended with status 5", args.failures[0])

    def test_who_fails_is_named(self):
        self.patch(gpu_step, "contestants", lambda *_: [gpu_step.REFERENCE, "torch eager sgd"])
        self.answers["torch eager sgd"] = {"error": "no such layer"}
        args = self.args()
        *_, last = self.run_case(args)
        self.assertEqual(last["failed"], ["torch eager sgd"])
        self.assertIn("no such layer", args.failures[0])


class Commands(unittest.TestCase):
    def commands(self, model):  # {(case, contestant): words}
        lines = output_of([sys.executable, SCRIPTS / "peers/gpu_step.py", "--model", model, "--list"]).splitlines()
        parsed = [re.match(r"\w+ (b\d+ \w+), (.*?): (.*)", line).groups() for line in lines]
        return {(case, name): command.split() for case, name, command in parsed}

    def test_both_optimizers_recorded_and_eager_in_every_case(self):
        for model in ("resnet32", "resnet50"):
            commands = self.commands(model)
            for case in {case for case, _ in commands}:
                flags = {(name, "--no-graph" in words, words[words.index("--opt") + 1])
                         for (of, name), words in commands.items() if of == case and name.startswith("fulcrum")}
                wanted = {(f"fulcrum {how} {opt}", how == "eager", opt)
                          for how in ("graph", "eager") for opt in ("sgd", "absgd")}
                self.assertLessEqual(wanted, flags, case)

    def test_several_steps_in_a_graph(self):
        words = self.commands("resnet32")["b128 bf16", "fulcrum graph of 8 sgd"]
        self.assertEqual(words[words.index("--steps-per-graph") + 1], "8")

    def test_the_programs_know_the_options(self):
        program = OPTIONS.build / "fulcrum"
        if not program.exists():
            self.skipTest(f"no {program}")
        known = {"fulcrum": output_of([program, "bench", "--help"]),
                 "torch": (SCRIPTS / "peers/torch_step.py").read_text()}
        for model in ("resnet32", "resnet50"):
            for (_, name), words in self.commands(model).items():
                for word in words:
                    if word.startswith("--"):
                        self.assertRegex(known[name.split()[0]], rf"{word}\b", name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=lambda text: Path(text).absolute(), default=ROOT / "build")
    parser.add_argument("--ctest", default="ctest")
    OPTIONS, rest = parser.parse_known_args()
    result = unittest.main(argv=[sys.argv[0], *rest], exit=False).result
    for test, reason in result.skipped:
        print(f"skipped: {test}: {reason}")
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)
