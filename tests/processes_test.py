#!/usr/bin/env python3
"""Training in several processes, on the CPU: fulcrum train under mpirun against one process.

    tests/processes_test.py PROGRAM [--device DEVICE] [unittest options]

On another device than the CPU a few steps alone are compared: for the emulated one of tests/simt.
Exit code 77, skipped, where there is no mpirun, or the program was built without MPI.
"""

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
from kill_test import read_tensors, write_data  # noqa: E402

PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else ""
DEVICE = "cpu"
if sys.argv[1:2] == ["--device"]:
    DEVICE = sys.argv[2]
    del sys.argv[1:3]
FORMATS = {"F32": "f", "F64": "d", "I64": "q", "U8": "B", "BF16": "H", "I32": "i"}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
# mpirun kills processes a second after it has told them to stop; on a busy machine a checkpoint takes longer. It waits twice
# as long whether or not any is left.
PATIENT = {**ENVIRONMENT, "OMPI_MCA_odls_base_sigkill_timeout": "10"}
HANGS = 200 if DEVICE == "cpu" else 800  # seconds
SHORT = ("--set", "train.limit_batches=4", "--recovery-interval", 2)


def mpirun(processes, *words, quiet=True):
    return ["mpirun", *["--quiet"] * quiet, "--oversubscribe", "--allow-run-as-root", "--bind-to", "none", "-n", str(processes),
            *map(str, words)]


def numbers(tensor):
    dtype, _, raw = tensor
    code = FORMATS[dtype]
    return struct.unpack(f"<{len(raw) // struct.calcsize(code)}{code}", raw)


def write_png(path, seed):
    """A grey square of 32 pixels."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    pixels = b"".join(b"\0" + bytes([16 * (seed % 16)]) * 32 for _ in range(32))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b""))


class Run(unittest.TestCase):
    """Data in a folder of its own, and what runs on them."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="fulcrum-processes-"))
        write_data(cls.folder / "data")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def tearDown(self):
        for run in self.folder.glob("run*"):
            shutil.rmtree(run)

    def words(self, run, *more):
        """An epoch of 15 batches of 32 crops and flips."""
        return [PROGRAM, "train", "--data-dir", self.folder / "data", "-o", self.folder / run, "--model", "resnet8", "-b",
                32, "--epochs", 1, "--seed", 3, "--lr", 0.02, "-j", 1, "--threads", 1, "--log-interval", 1, "--set",
                "data.pad=2", "--set", "data.flip=true", "--device", DEVICE, *map(str, more)]

    def train(self, run, processes, *more, code=0):
        words = self.words(run, *more)
        if processes > 1:
            words = mpirun(processes, *words)
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=HANGS, env=ENVIRONMENT)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def row(self, run):
        return [json.loads(line) for line in (self.folder / run / "metrics.jsonl").read_text().splitlines()]

    def assert_close(self, run, other, limit):
        """The same weights, momentum, risk state and samples, up to `limit` of each tensor's norm."""
        tensors, metadata = read_tensors(self.folder / run / "last.safetensors")
        others, other_metadata = read_tensors(self.folder / other / "last.safetensors")
        self.assertEqual(tensors.keys(), others.keys())
        self.assertEqual(json.loads(metadata["progress"])["batch"], json.loads(other_metadata["progress"])["batch"])
        for name, tensor in tensors.items():
            self.assertEqual(tensor[:2], others[name][:2], name)
            a, b = numbers(tensor), numbers(others[name])
            difference = math.dist(a, b) / max(1e-3, math.hypot(*b))
            self.assertLessEqual(difference, limit, f"{name} in {run} and {other}")
        a, b = self.row(run)[-1], self.row(other)[-1]
        for key in ("loss", "objective", "top1"):
            self.assertAlmostEqual(a["train"][key] / b["train"][key], 1, delta=limit, msg=key)
        for key in ("weight_sum", "effective_fraction"):
            self.assertAlmostEqual(a[key] / b[key], 1, delta=limit, msg=key)
        if "log_u" in b:
            self.assertAlmostEqual(a["log_u"], b["log_u"], delta=limit)

    def assert_one_error(self, text, words):
        errors = [line for line in text.splitlines() if "error:" in line]
        self.assertEqual(len(errors), 1, text)
        for word in words:
            self.assertIn(word, text)

    # A few steps: after about eight some activation lies on the other side of a ReLU's zero, and differences grow.
    def equal(self, *more, processes=(2, 4), limit=5e-3, steps=3):
        more = (*more, "--set", f"train.limit_batches={steps}")
        self.train("run1", 1, *more)
        for n in processes:
            self.train(f"run{n}", n, *more, "--sync-bn")
            self.assert_close(f"run{n}", "run1", limit)


    # Sums over the processes are made in both forward passes, while buckets of gradients are on their way.
    def equal_bits_with_recompute(self, *more):
        more = ("--opt", "absgd", "--lambda", 1.5, "--sync-bn", "--set", "model.dropout=0.2", *more)
        self.train("run1", 2, *more)
        self.train("run2", 2, *more, "--recompute")
        kept, recomputed = (read_tensors(self.folder / run / "last.safetensors")[0] for run in ("run1", "run2"))
        self.assertEqual([name for name in kept if kept[name] != recomputed[name]], [])


class OtherDevice(Run):
    # The third step is recorded with its collectives, and replayed.
    def test_absgd(self):
        self.equal("--opt", "absgd", "--lambda", 1.5, processes=(2,), steps=5)

    def test_recompute(self):
        self.equal_bits_with_recompute("--set", "train.limit_batches=5")


class Processes(Run):
    # ---- the same training ----

    def test_sgd(self):
        self.equal("--set", "model.dropout=0.3")

    def test_absgd(self):
        self.equal("--opt", "absgd", "--lambda", 1.5, "--gamma", 0.6, "--model-ema-decay", 0.9)

    # 35 samples: of the three of the last batch one of four processes has none.
    def test_group_with_a_last_batch_smaller_than_the_processes(self):
        self.equal("--risk", "group", "--set", "risk.eta=0.1", "--imb-type", "step", "--imb-factor", 0.2, "--set",
                   "data.n_max=6", steps=0)

    def test_cvar_with_accumulation_and_clipping(self):
        self.equal("--risk", "cvar", "--accumulate", 2, "--set", "optim.max_norm=0.5", processes=(2,))

    def test_adam_and_class_weights(self):
        self.equal("--opt", "adam", "--lr", 1e-4, "--set", "loss.class_weights=balanced", "--imb-type", "exp",
                   "--imb-factor", 0.2, processes=(2,), limit=5e-3)

    def test_mixup_and_cutmix(self):
        self.equal("--opt", "absgd", "--lambda", 1.5, "--set", "data.mixup=0.8", "--set", "data.cutmix=1")

    # Other sums are rounded in two processes. Rounding takes single gradients of the first layers up to a sixth away from
    # those of f32; two that have nothing in common would be √2 of that apart.
    def test_bf16(self):
        more = ("--opt", "absgd", "--lambda", 2, "--set", "train.limit_batches=2")
        self.train("run0", 1, *more)
        self.train("run1", 1, *more, "--amp", "bf16")
        self.train("run2", 2, *more, "--amp", "bf16", "--sync-bn")
        exact, one, two = (read_tensors(self.folder / run / "last.safetensors")[0] for run in ("run0", "run1", "run2"))
        momentum = [name for name in exact if name.startswith("optim.momentum.")]
        for names in (momentum, [name for name in exact if f"optim.momentum.{name}" in momentum]):
            self.assertTrue(names)
            a, b, c = ([x for name in names for x in numbers(tensors[name])] for tensors in (exact, one, two))
            self.assertLess(math.dist(b, c), math.sqrt(2) * math.dist(a, b))

    def test_recompute(self):
        self.equal_bits_with_recompute()

    # Frozen, a network normalises by its running statistics, and no batch norm sees what others have.
    def test_without_sync_bn(self):
        self.train("run0", 1, "--set", "train.limit_batches=4")
        more = ("--opt", "absgd", "--lambda", 1.5, "--set", "model.freeze=backbone", "--pretrained",
                self.folder / "run0" / "last.safetensors")
        self.train("run1", 1, *more)
        self.train("run2", 2, *more)
        self.assert_close("run2", "run1", 5e-5)

    def test_running_statistics_without_sync_bn_are_the_mean_of_those_of_the_processes(self):
        steps = ("--set", "train.limit_batches=1")
        self.train("run1", 1, *steps)
        self.train("run2", 2, *steps)
        one, _ = read_tensors(self.folder / "run1" / "last.safetensors")
        two, _ = read_tensors(self.folder / "run2" / "last.safetensors")
        mean, other = (numbers(t["bn1.running_mean"]) for t in (one, two))  # the first layer's inputs are the same
        for a, b in zip(mean, other):
            self.assertAlmostEqual(a, b, delta=1e-6)
        self.assertNotEqual(numbers(one["layer3.0.bn2.running_var"]), numbers(two["layer3.0.bn2.running_var"]))

    def test_the_same_run_has_the_same_bits(self):
        for run in ("run1", "run2"):
            self.train(run, 2, "--opt", "absgd", "--lambda", 1.5)
        a, _ = read_tensors(self.folder / "run1" / "last.safetensors")
        b, _ = read_tensors(self.folder / "run2" / "last.safetensors")
        self.assertEqual([name for name in a if a[name] != b[name]], [])

    def test_evaluation_is_that_of_one_process(self):
        self.train("run1", 1, "--set", "train.limit_batches=4")
        words = [PROGRAM, "eval", self.folder / "run1"]
        one, two = (subprocess.run([str(w) for w in line], capture_output=True, text=True, env=ENVIRONMENT, check=True).stdout
                    for line in (words, mpirun(2, *words)))
        self.assertEqual(json.loads(one), json.loads(two))

    def test_a_non_finite_loss_is_said_once(self):
        done = self.train("run1", 2, "--lr", 1e30, code=3)
        self.assert_one_error(done.stderr, ["non-finite", "; samples ", "last.safetensors"])

    def test_one_process_fails(self):
        """A folder of images whose last file is no image: one process decodes it."""
        folder = self.folder / "images"
        for part in ("train", "test"):
            for name in ("a", "b"):
                (folder / part / name).mkdir(parents=True, exist_ok=True)
        self.addCleanup(shutil.rmtree, folder)
        for i in range(16):
            for part in ("train", "test"):
                write_png(folder / part / "ab"[i % 2] / f"{i}.png", i)
        words = ("--dataset", "folder", "--data-dir", folder, "--set", "data.image_size=32", "-b", 8, "--set", "data.mean=[0.5, 0.5, 0.5]",
                 "--set", "data.std=[0.2, 0.2, 0.2]", "--epochs", 2, "--set", "data.pad=0")
        bad = folder / "train" / "a" / "4.png"
        bad.write_bytes(bad.read_bytes()[:60])
        done = self.train("run1", 2, *words, code=1)
        self.assert_one_error(done.stderr, ["4.png"])

    # ---- going on with another number of processes ----

    def test_resume(self):
        more = ("--opt", "absgd", "--lambda", 1.5, "--sync-bn", "--set", "train.limit_batches=2")
        self.train("run1", 1, *more, "--epochs", 2)
        for first, then in ((2, 1), (1, 2)):
            self.train("run2", first, *more)
            self.train("run2", then, *more, "--epochs", 2, "--resume", "auto")
            self.assert_close("run2", "run1", 5e-3)
            shutil.rmtree(self.folder / "run2")

    # ---- refused ----

    def test_refuses_what_does_not_fit(self):
        done = self.train("run1", 2, "-b", 33, code=2)
        self.assert_one_error(done.stderr, ["train.batch_size", "multiple of the 2 processes", "33"])
        done = self.train("run1", 2, "--loss", "aldr-kl", code=2)
        self.assert_one_error(done.stderr, ["aldr-kl"])
        done = self.train("run1", 2, "--epoch-count", 3, code=2)
        self.assertEqual(done.stderr.count("--epoch-count"), 1, done.stderr)
        done = self.train("run1", 2, "--dry-run", code=2)
        self.assert_one_error(done.stderr, ["--dry-run", "one process"])
        self.assertFalse((self.folder / "run1").exists())
        (self.folder / "run1").mkdir()
        (self.folder / "run1" / "config.toml").write_text("")
        self.assert_one_error(self.train("run1", 2, code=2).stderr, ["holds a run already"])

    def test_commands_of_one_process(self):
        for words in (["lr-find", "--data-dir", self.folder / "data"], ["predict", "run1", "image.png"],
                      ["export", "run1", "--onnx", self.folder / "one.onnx"], ["bench", "--model", "resnet8", "--inference"]):
            done = subprocess.run(mpirun(2, PROGRAM, *words), capture_output=True, text=True, timeout=HANGS, env=ENVIRONMENT)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assert_one_error(done.stderr, [words[0], "one process"])

    def test_bench(self):
        """The table of ops is printed once, and has what the processes wait for."""
        words = mpirun(2, PROGRAM, "bench", "--model", "resnet8", "--steps", 2, "-b", 8, "--by-shape", "--threads", 1)
        done = subprocess.run(words, capture_output=True, text=True, timeout=HANGS, env=ENVIRONMENT, check=True)
        self.assertEqual(done.stdout.count("images/s, "), 1, done.stdout)
        row = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(row["processes"], 2)
        ops = [op["op"] for op in row["profile"]["ops"]]
        self.assertEqual(sum(op.startswith("all_reduce (wait)") for op in ops), 1, ops)

    def test_visible_gpus_are_enough_or_do_not_matter(self):
        words = mpirun(3, PROGRAM, "bench", "--model", "resnet8", "--steps", 1, "-b", 6, "--threads", 1, "--no-profile")
        for device, code in (("cpu", 0), ("cuda", 2)):
            done = subprocess.run([*words, "--device", device], capture_output=True, text=True, timeout=HANGS,
                                  env={**ENVIRONMENT, "CUDA_VISIBLE_DEVICES": "4,5"})
            self.assertEqual(done.returncode, code, done.stderr)
        self.assert_one_error(done.stderr, ["CUDA_VISIBLE_DEVICES", "each of the 3 processes", "4,5"])

    def test_refuses_processes_with_different_settings(self):
        words = [str(w) for w in self.words("run1")]
        line = mpirun(1, *words) + [":", "-n", "1", *words, "--lr", "0.03"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=HANGS, env=ENVIRONMENT)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assert_one_error(done.stderr, ["optim.lr: 0.02 -> 0.03", "process 1"])
        self.assertFalse((self.folder / "run1").exists())

    # ---- the end ----

    def start(self, run, processes, quiet=True, environment=PATIENT):
        # Few lines: mpirun does not read them while it waits before it kills, and a process with a full pipe stands still.
        short = (*SHORT, "--epochs", 10000, "--log-interval", 1000)
        words = [str(w) for w in mpirun(processes, *self.words(run, *short), quiet=quiet)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        deadline = time.monotonic() + HANGS
        while not (self.folder / run / "last.safetensors").exists():
            if process.poll() is not None:
                self.fail(process.communicate())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return process

    def ranks(self, run):
        """The processes of the run, and not mpirun."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if words[0] == str(PROGRAM).encode() and str(self.folder / run).encode() in words:
                    environment = (folder / "environ").read_bytes().split(b"\0")
                    rank = next(e for e in environment if e.startswith(b"OMPI_COMM_WORLD_RANK="))
                    found[int(rank.split(b"=")[1])] = int(folder.name)
            except (OSError, StopIteration):
                continue
        return found

    def goes_on(self, run):
        """The checkpoint is whole: the run resumes, with one process, to the end of the epoch after it."""
        _, metadata = read_tensors(self.folder / run / "last.safetensors")
        epoch = json.loads(metadata["progress"])["epoch"]
        self.train(run, 1, *SHORT, "--epochs", epoch + 1, "--resume", "auto")

    def test_ctrl_c(self):
        process = self.start("run1", 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANGS)
        self.assertNotEqual(process.returncode, 0)
        # An interrupted mpirun does not always pass on the last line; the run's log has it in any case.
        self.assertLessEqual(err.count("stopped by signal"), 1, err[-2000:])
        log = (self.folder / "run1" / "log.txt").read_text()
        self.assertEqual(log.count("stopped by signal"), 1, f"{log[-2000:]}\nmpirun: {process.returncode}\n{err[-2000:]}")
        self.assertEqual(self.ranks("run1"), {})
        self.goes_on("run1")

    def test_one_process_is_terminated(self):
        process = self.start("run1", 2)
        os.kill(self.ranks("run1")[1], signal.SIGTERM)
        _, err = process.communicate(timeout=HANGS)
        self.assertEqual(process.returncode, 143, err)
        self.assertEqual(err.count("stopped by signal 15"), 1, err)
        self.goes_on("run1")

    def test_one_process_is_killed(self):
        for rank in (0, 1):
            process = self.start("run1", 2, quiet=False, environment=ENVIRONMENT)
            os.kill(self.ranks("run1")[rank], signal.SIGKILL)
            _, err = process.communicate(timeout=HANGS)
            self.assertNotEqual(process.returncode, 0)
            # The other process says it, unless mpirun, which says it too, was quicker to end that one.
            errors = [line for line in err.splitlines() if line.startswith("error:")]
            self.assertLessEqual(len(errors), 1, err)
            self.assertIn(f"process {rank} (pid" if errors else "exited on signal 9", err)
            self.assertEqual(self.ranks("run1"), {})
            self.goes_on("run1")
            shutil.rmtree(self.folder / "run1")


if __name__ == "__main__":
    if not shutil.which("mpirun"):
        print("skipped: there is no mpirun")
        sys.exit(77)
    probe = subprocess.run(mpirun(2, PROGRAM, "bench", "--model", "resnet8", "--steps", 1, "-b", 2, "--no-profile"),
                           capture_output=True, text=True, env=ENVIRONMENT, check=False)
    if "this build has no MPI" in probe.stderr:
        print("skipped: the program was built without MPI")
        sys.exit(77)
    unittest.main(defaultTest="Processes" if DEVICE == "cpu" else "OtherDevice")
