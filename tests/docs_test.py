#!/usr/bin/env python3
"""README.md and docs/*.md do what they say: code compiles, tables parse, commands exist, and the tutorial runs.

    tests/docs_test.py --program build/fulcrum --include build/include [--compiler c++]

C++ with #include is compiled as it is. Other C++ has a mark in the line before:

    <!-- code: statements -->            lines of a training loop, after those of PRELUDE and the page's files
    <!-- code: in FILE -->               stands in the file
    <!-- code: FILE before TEXT -->      is put into a copy of the file, before the first line with TEXT
    <!-- code: FILE inside -->           the same, in a test of its own at the end of the file
    <!-- code: FILE -->                  is a new file

Copies and new files are compiled in a copy of the sources, with what includes them. Nothing is linked: what stands
elsewhere in the repository has tests of its own.
"""

import argparse
import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from kill_test import write_data  # noqa: E402

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PRELUDE = """
#include <fulcrum/core/ops.h>
#include <fulcrum/data/loader.h>
#include <fulcrum/layers/resnet.h>
#include <fulcrum/optim/absgd.h>
using namespace fulcrum;
"""
LOOP = "void page(Module& net, Optimizer& opt, Loader& loader, const Batch& batch) {{ (void)net, (void)opt, (void)loader, (void)batch;\n{}\n}}\n"
OWN_LOOP = "void page(Loader& loader) {{\n{}\n}}\n"
OPTIONS = argparse.Namespace()


def blocks(page):
    """(line, language, mark, text) of every fenced block."""
    mark, start, lines = "", None, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if start is None and line.startswith("```"):
            start, language, lines = number, line[3:], []
        elif line == "```" and start is not None:
            yield start, language, mark, "\n".join(lines) + "\n"
            start, mark = None, ""
        elif start is not None:
            lines.append(line)
        elif line:
            found = re.fullmatch(r"<!-- code: (.*) -->", line)
            mark = found[1] if found else ""


def commands(page):
    """(line, command) of the indented lines that run a program of the repository; lines that end in \\ are joined."""
    fenced, number, lines = False, 0, page.read_text().splitlines()
    while number < len(lines):
        line, start = lines[number], number + 1
        number += 1
        fenced ^= line.startswith("```")
        if fenced or not re.match(r"    (build/fulcrum|scripts/\S+)", line):
            continue
        while line.endswith("\\"):
            line = line[:-1] + lines[number]
            number += 1
        yield start, line.split(" # ")[0].strip()


def where(page, line):
    return f"{page.relative_to(ROOT)}:{line}"


@cache
def help_of(*words):
    return subprocess.run([OPTIONS.program, *words, "--help"], capture_output=True, text=True, check=True).stdout


@cache
def keys():
    """The settings; tests/getting_started/compare.cmake holds the table against the program."""
    return set(re.findall(r"^\| `([a-z]+\.\w+)` \|", (ROOT / "docs/recipes.md").read_text(), re.M))


def compile_all(units, folder, include):
    """Checks (name, file, options) with the compiler; the errors."""
    def one(unit):
        name, file, extra = unit
        language = ["-x", "c++"] if file.suffix == ".cu" else []
        command = [*shlex.split(OPTIONS.compiler), "-std=c++20", "-fsyntax-only", "-fopenmp", "-Wall", "-Wextra", "-Wconversion",
                   "-Werror", *extra, f"-I{include}", "-I/usr/include/eigen3", *language, str(file)]
        run = subprocess.run(command, capture_output=True, text=True)
        return f"{name}:\n{run.stderr[:3000]}" if run.returncode else None
    with ThreadPoolExecutor(2) as pool:
        return [error for error in pool.map(one, units) if error]


class Code(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fulcrum-docs-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def test_cpp_of_the_pages_compiles(self):
        units = []
        for page in PAGES:
            defined = ""
            for line, language, mark, text in blocks(page):
                if language != "cpp" or mark not in ("", "statements"):
                    continue
                with self.subTest(where(page, line)):
                    self.assertTrue("#include" in text or mark, "neither #include nor a mark <!-- code: … -->")
                    file = self.folder / f"{page.stem}-{line}.cpp"
                    if mark:
                        loop = OWN_LOOP if "Absgd opt(" in text else LOOP
                        file.write_text(PRELUDE + defined + loop.format(text))
                    else:
                        file.write_text(text)
                        defined += "" if "int main" in text else text
                    units.append((where(page, line), file, []))
        self.assertGreater(len(units), 5)
        self.assertEqual(compile_all(units, self.folder, OPTIONS.include), [])

    def test_code_that_goes_into_files_compiles_there(self):
        copy = self.folder / "tree"
        for name in ("core", "tests"):
            shutil.copytree(ROOT / name, copy / name, symlinks=True)
        (copy / "include/fulcrum").mkdir(parents=True)
        for name in ("core", "layers", "optim", "data"):
            (copy / "include/fulcrum" / name).symlink_to((copy if name == "core" else ROOT) / name)
        touched = {}
        for page in PAGES:
            for line, language, mark, text in blocks(page):
                if language == "cpp" and mark and mark != "statements":
                    with self.subTest(where(page, line)):
                        touched.setdefault(self.place(copy, mark, text), where(page, line))
        units = []
        for name, page in touched.items():
            file = copy / ("tests/ops_test.cpp" if name == "tests/op_cases.h" else name)
            if name.startswith("tests/"):
                extra = [f"-I{copy}", f'-DFULCRUM_SOURCE_DIR="{ROOT}"', "-Wno-unused-function"]
            elif file.suffix == ".cu":
                extra = ["-DFULCRUM_WITH_CUDA", f"-I{ROOT}/tests/simt/include", f"-I{ROOT}/tests/simt"]
            else:
                extra = []
            if file.suffix in (".cpp", ".cu"):
                units.append((f"{page} ({name})", file, extra))
        self.assertGreater(len(units), 4)
        self.assertEqual(compile_all(units, self.folder, copy / "include"), [])

    def place(self, copy, mark, text):
        """Does what a mark says; the file that it names."""
        if mark.startswith("in "):
            self.assertIn(text, (ROOT / mark[3:]).read_text())
            return mark[3:] + " "  # nothing to compile
        name, _, how = mark.partition(" ")
        file = copy / name
        if not how:
            file.write_text(text)
        elif how == "inside":
            content = file.read_text()
            at = content.rindex("}  // namespace\n")
            file.write_text(f"{content[:at]}TEST_P(Kernels, OfThePage) {{\n  const Tensor x = random({{7, 5}});\n{text}}}\n{content[at:]}")
        else:
            anchor = how.removeprefix("before ")
            lines = file.read_text().splitlines(keepends=True)
            at = next((i for i, line in enumerate(lines) if anchor in line), None)
            self.assertIsNotNone(at, f"{name} has no line with {anchor}")
            file.write_text("".join([*lines[:at], text, "\n", *lines[at:]]))
        return name

    def test_other_blocks_parse(self):
        parse = {"toml": tomllib.loads, "python": ast.parse, "json": json.loads, "cmake": self.cmake,
                 "bibtex": lambda text: self.assertRegex(text, r"\A@\w+\{\w+,\n(  \w+ += \{.*\},?\n)+\}\n\Z")}
        for page in PAGES:
            for line, language, _, text in blocks(page):
                with self.subTest(where(page, line)):
                    if language in ("cpp", ""):
                        continue
                    self.assertIn(language, parse)
                    parse[language](text)

    def cmake(self, text):
        """Its commands are those of the projects that tests/install builds, whatever these call their target."""
        used = (ROOT / "examples/train/CMakeLists.txt").read_text() + (ROOT / "tests/install/subdirectory/CMakeLists.txt").read_text()
        for line in text.splitlines():
            line = line.replace("your_program", "train").replace("add_subdirectory(fulcrum EX", "add_subdirectory(${FULCRUM_DIR} fulcrum EX")
            self.assertIn(line, used)


class Commands(unittest.TestCase):
    def test_programs_flags_and_settings_exist(self):
        checked = 0
        for page in PAGES:
            if page.name == "errors.md":  # its commands are wrong on purpose, and have a test of their own
                continue
            for line, command in commands(page):
                with self.subTest(f"{where(page, line)}: {command}"):
                    words = shlex.split(command.replace("…", ""))
                    (self.fulcrum if words[0] == "build/fulcrum" else self.script)(words)
                    checked += 1
        self.assertGreater(checked, 80)

    def test_methods_name_tests_and_commands_that_exist(self):
        """The table of every method: its tests are in tests/, its commands have flags, settings and recipes of the program."""
        page = (ROOT / "docs/method.md").read_text()
        tests = "".join(f.read_text() for f in sorted((ROOT / "tests").glob("*.[ch]*")))
        defined = set(re.findall(r"^(?:TEST|TEST_F|TEST_P)\(\s*(\w+),\s*(\w+)\)", tests, re.M))
        start = {"CB": "--recipe cifar10-lt", "LT": "--recipe cifar10-lt --set loss.class_weights=none", "N": "--recipe cifar10-noise"}
        for flags in start.values():
            self.assertIn(f"`{flags}`", page)
        rows = re.findall(r"^\| (.+?) \| .*? \| .*? \| (.+?) \| (.+?) \|$", page.partition("\n## Every method\n")[2], re.M)
        checked = 0
        for method, names, command in rows:
            if method == "method":
                continue
            with self.subTest(method):
                for name in names.split(", "):
                    self.assertTrue(self.is_test(name, tests, defined), f"tests/ has no {name}")
                first, _, more = command.partition(" ")
                words = f"{start[first]} {more}" if first in start else command
                self.fulcrum(["build/fulcrum", "train", *shlex.split(words.replace("`", "").replace("…", ""))])
                checked += 1
        self.assertGreater(checked, 25)

    def is_test(self, name, tests, defined):
        """A suite, one of its tests (… is what follows), a file, or the table of operations."""
        if name == "the table of operations":
            return "all_op_cases() {" in tests
        if name.endswith(".cpp"):
            return (ROOT / "tests" / name).exists()
        suite, _, test = name.partition(".")
        if test.endswith("…"):
            return any(s == suite and t.startswith(test[:-1]) for s, t in defined)
        return (suite, test) in defined if test else any(s == suite for s, _ in defined)

    def fulcrum(self, words):
        path = [words[1]]
        if words[1] == "data" and len(words) > 2:
            path.append(words[2])
        text = help_of(*path)
        flags = set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", text))
        for i, word in enumerate(words):
            if re.match(r"--?[a-z]", word):
                self.assertIn(word.split("=")[0], flags)
            if word in ("--set", "--grid"):
                self.assertIn(words[i + 1].split("=")[0], keys())
            if word == "--recipe" and "/" not in words[i + 1] and not words[i + 1].endswith(".toml"):
                self.assertTrue((ROOT / f"apps/recipes/{words[i + 1]}.toml").exists(), words[i + 1])
        if words[1] == "reproduce" and "." not in words[2]:
            self.assertTrue((ROOT / f"apps/grids/{words[2]}.toml").exists(), words[2])

    def script(self, words):
        file = ROOT / words[0]
        self.assertTrue(os.access(file, os.X_OK), f"{words[0]} is no program")
        # What a script sources or imports may read the flag in its place.
        text = "".join(f.read_text() for f in file.parent.iterdir() if f.is_file())
        for word in words[1:]:
            if word.startswith("--") and word != "--":
                self.assertIn(word.split("=")[0], text)


class Tutorial(unittest.TestCase):
    """Its commands in their order, on data as small as they can be."""

    def test_every_command_runs(self):
        folder = Path(tempfile.mkdtemp(prefix="fulcrum-tutorial-"))
        self.addCleanup(shutil.rmtree, folder)
        write_data(folder / "data")
        (folder / "build").mkdir()
        (folder / "build/fulcrum").symlink_to(Path(OPTIONS.program).resolve())
        for part in ("train", "test"):
            for kind in ("cat", "dog"):
                (folder / "photos" / part / kind).mkdir(parents=True)
                for i in range(6):
                    (folder / "photos" / part / kind / f"{i}.png").write_bytes(png(40, 48, i + (kind == "dog") * 100))
        environment = {**os.environ, "FULCRUM_THREADS": "1", "FULCRUM_DATA_DIR": str(folder / "data")}
        ran = 0
        for line, command in commands(ROOT / "docs/tutorial.md"):
            if not command.startswith("build/fulcrum") or command == "build/fulcrum doctor":
                continue
            env = {key: value for key, value in environment.items() if key != "FULCRUM_DATA_DIR" or "fashion-mnist" in command}
            small = " --set data.n_max=40 --batch-size 16" if "fashion-mnist-lt" in command else ""
            run = subprocess.run(command + small, shell=True, cwd=folder, env=env, capture_output=True, text=True)
            self.assertEqual(run.returncode, 0, f"docs/tutorial.md:{line}: {command}\n{run.stdout[-500:]}{run.stderr[-2000:]}")
            ran += 1
        self.assertGreater(ran, 8)
        for name in ("comparison.html", "runs/tutorial-absgd/report.html", "runs/tutorial-noise/suspects.csv", "photos.onnx",
                     "runs/tutorial-photos/best.safetensors"):
            self.assertTrue((folder / name).exists(), f"docs/tutorial.md speaks of {name}")


def png(height, width, seed):
    """A photograph for want of one: grey, with noise of its own."""
    import random
    import struct
    import zlib
    rng = random.Random(seed)
    rows = b"".join(b"\0" + bytes(rng.randrange(64) + seed for _ in range(3 * width)) for _ in range(height))

    def part(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return (b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b""))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--include", required=True, type=Path)
    parser.add_argument("--compiler", default="c++")
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
