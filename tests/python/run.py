#!/usr/bin/env python3
"""Runs the *_test.py beside it but for torch_test.py; 77, a skip for ctest, where there is no NumPy."""
import importlib.util
import pathlib
import sys
import unittest

if importlib.util.find_spec("numpy") is None:
    print("skipped: no numpy")
    sys.exit(77)
here = str(pathlib.Path(__file__).parent)
suite = unittest.TestLoader().discover(here, pattern="[!t]*_test.py")
suite.addTests(unittest.TestLoader().discover(here, pattern="t[!o]*_test.py"))
sys.exit(not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful())
