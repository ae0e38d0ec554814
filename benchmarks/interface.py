"""Seconds to import the package and to answer on the command line."""

import subprocess
import sys


def run(code):
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def time_import():
    run("from estbench import Estimator")


def time_list():
    run("from estbench.cli import app; app(['list'], standalone_mode=False)")


time_import.version = time_list.version = "1"
