"""Processor time to import the package and to answer on the command line."""

import resource
import subprocess
import sys


def children():
    """Processor time of the processes that this one started and saw end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Start:
    """In a fresh process, with torch."""

    version = "2"
    timer = staticmethod(children)
    number = 1
    rounds = 1
    repeat = 5
    warmup_time = 0

    def _run(self, code):
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)  # noqa: S603  (code of this file)

    def time_import(self):
        self._run("from estbench import Estimator")

    def time_list(self):
        self._run("from estbench.cli.main import app; app(['list'], standalone_mode=False)")

    time_import.pretty_name = "time of the import"
    time_list.pretty_name = "time of estbench list"
