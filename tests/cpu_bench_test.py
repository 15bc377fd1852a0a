"""scripts/peers/cpu_bench.py without PyTorch: ratios and the best mode by hand, the table, and a whole case in which
small servers stand in for the contestants."""

import argparse
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts" / "peers"))
import bench_table  # noqa: E402
import cpu_bench  # noqa: E402
from contestants import Work  # noqa: E402

RATES = {
    "fulcrum": [100.0, 50.0, 90.0],  # a slow minute in the second round
    "torch: default": [20.0, 10.0, 30.0],
    "torch: compile": [80.0, 25.0, 60.0],  # 1.25, 2.0, 1.5
    "torch: channels_last": [62.5, 25.0, 62.0],  # 1.6, 2.0, 1.45…; the highest median
    "libtorch": [50.0, 25.0, 45.0],
}


class Arithmetic(unittest.TestCase):
    def test_a_ratio_is_the_median_of_the_ratios_within_rounds(self):
        rows = bench_table.summarise(RATES, batch_size=10)
        self.assertAlmostEqual(rows["torch: compile"]["fulcrum_ratio"], 1.5)  # not 90 / 60 of medians alone
        self.assertAlmostEqual(rows["torch: default"]["fulcrum_ratio"], 5.0)  # medians would give 4.5
        self.assertAlmostEqual(rows["libtorch"]["fulcrum_ratio"], 2.0)
        self.assertNotIn("fulcrum_ratio", rows["fulcrum"])
        self.assertEqual((rows["fulcrum"]["median"], rows["fulcrum"]["min"], rows["fulcrum"]["max"]), (90, 50, 100))
        self.assertAlmostEqual(rows["torch: default"]["step_ms"], 500)  # 10 images at 20 a second

    def test_the_best_mode_has_the_smallest_ratio(self):
        rows = bench_table.summarise(RATES, batch_size=10)
        self.assertEqual(max(rows, key=lambda n: n != "fulcrum" and rows[n]["median"]), "torch: channels_last")
        self.assertEqual(bench_table.best_mode(rows), "torch: compile")

    def test_peers_and_fulcrum_are_no_modes_of_torch(self):
        rates = {**RATES, "libtorch": [99.0, 49.0, 89.0]}
        self.assertEqual(bench_table.best_mode(bench_table.summarise(rates, 10)), "torch: compile")
        self.assertIsNone(bench_table.best_mode(bench_table.summarise({"fulcrum": [1.0], "dlib": [1.0]}, 1)))

    def test_without_fulcrum_the_fastest_mode_is_best(self):
        rates = {name: values for name, values in RATES.items() if name != "fulcrum"}
        self.assertEqual(bench_table.best_mode(bench_table.summarise(rates, 10)), "torch: channels_last")


# Answers like a contestant: argument 1 is its rate, argument 2 "ready" where it announces itself, or how it fails.
SERVER = """
import json, sys, time
rate, kind = float(sys.argv[1]), sys.argv[2]
if kind == "fail": sys.exit(3)
at = time.monotonic()
if kind == "ready": print(json.dumps({"ready": True}), flush=True)
for i, line in enumerate(sys.stdin):
    if kind == "fail later" and i == 2: sys.exit(4)
    print(json.dumps({"images_per_s": rate, "first_step_at": at}), flush=True)
"""


class WholeCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.args = argparse.Namespace(core_set=set(), patience=60, realtime=False, seconds=0.01, rounds=2,
                                       out=Path(folder.name) / "out" / "bench", names=["one", "two"])
        work = Work("resnet32", 128)
        self.patch(cpu_bench, "CASES", {"one": work, "two": work})
        self.patch(cpu_bench, "PAUSE", 0)
        self.patch(cpu_bench, "warm_files", lambda args: None)
        self.patch(sys, "stderr", io.StringIO())
        self.patch(sys, "stdout", io.StringIO())

    def patch(self, owner, name, value):
        patcher = mock.patch.object(owner, name, value)
        patcher.start()
        self.addCleanup(patcher.stop)

    def serve(self, **kinds):
        rows = {"fulcrum": (640, ""), "torch: default": (160, "ready"), "torch: channels_last": (320, "ready"),
                "libtorch": (400, ""), **kinds}
        made = [cpu_bench.Contestant(name, [sys.executable, "-c", SERVER, rate, kind]) for name, (rate, kind) in rows.items()]
        self.patch(cpu_bench, "contestants", lambda args, work: made)

    def read(self):
        return json.loads(self.args.out.with_suffix(".json").read_text())

    def test_measures_and_writes(self):
        self.serve()
        self.assertEqual(cpu_bench.measure(self.args), 0)
        case = self.read()["cases"][1]
        self.assertEqual((case["name"], case["torch_best"], case["left_out"]), ("two", "torch: channels_last", {}))
        self.assertEqual({n: r.get("fulcrum_ratio") for n, r in case["rows"].items()},
                         {"fulcrum": None, "torch: default": 4, "torch: channels_last": 2, "libtorch": 1.6})
        for row in case["rows"].values():
            self.assertEqual(len(row["rounds"]), 2)
            self.assertGreater(row["peak_mb"], 1)
            self.assertTrue(0 < row["first_step_s"] < 60)
        lines = self.args.out.with_suffix(".md").read_text().splitlines()
        # case, Fulcrum, best mode and its name, Fulcrum / best, / default, / libtorch, / dlib
        self.assertEqual([c.strip() for c in lines[2].split("|")[1:9]],
                         ["one", "640", "320", "channels_last", "2.00", "4.00", "1.60", ""])

    def test_a_contestant_that_fails_is_left_out_and_named(self):
        self.serve(dlib=(1, "fail"))
        self.assertEqual(cpu_bench.measure(self.args), 1)
        case = self.read()["cases"][0]
        self.assertIn("status 3", case["left_out"]["dlib"])
        self.assertNotIn("dlib", case["rows"])
        self.assertIn("left out", self.args.out.with_suffix(".md").read_text())

    def test_a_case_that_breaks_off_does_not_end_the_others(self):
        self.serve(dlib=(1, "fail later"))
        self.assertEqual(cpu_bench.measure(self.args), 1)
        self.assertEqual(self.read()["cases"], [])
        self.assertEqual(set(self.read()["failed"]), {"one", "two"})
        self.assertIn("status 4", self.read()["failed"]["two"])

    def test_an_interrupted_run_leaves_its_finished_cases(self):
        self.serve()
        run = cpu_bench.run_case

        def interrupted(args, name):
            if name == "two":
                raise KeyboardInterrupt
            return run(args, name)

        self.patch(cpu_bench, "run_case", interrupted)
        self.assertRaises(KeyboardInterrupt, cpu_bench.measure, self.args)
        self.assertEqual([case["name"] for case in self.read()["cases"]], ["one"])


if __name__ == "__main__":
    unittest.main()
