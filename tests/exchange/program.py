"""The program, as the tests in this folder run it: FULCRUM_PROGRAM, without settings from the environment."""

import json
import os
import subprocess


def fulcrum(*words: str) -> dict:
    """The JSON of the last line that the program prints; an AssertionError with its words where it fails."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FULCRUM_")}
    done = subprocess.run([os.environ["FULCRUM_PROGRAM"], *words], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"fulcrum {' '.join(words)}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
