"""Plugins that misbehave, as sources; shared by tests that try to break a run."""

_FRAME = '''
import os, sys, time
import torch
from estbench import ScoreFunction


class {name}(ScoreFunction):
    """Misbehaves."""

    unbiased = True
    paper = ""

    def baseline(self, name, node, cost):
        {body}
        return torch.full_like(cost, 0.5)
'''

BODIES = {
    "good": "pass",
    "hangs": "time.sleep(3600)",
    "stubborn": """
        while True:
            try:
                time.sleep(1)
            except BaseException:
                pass""".strip(),
    "exits": "sys.exit(3)",
    "dies": "os.abort()",
    "leaves": "os._exit(9)",
    # a copy counts on from where it was made, so that there are at most three
    "forks": """
        self.forked = getattr(self, "forked", 0) + 1
        if self.forked <= 2:
            os.fork()""".strip(),
    "shouts": """
        sys.stdout.write("noise" * 2_000_000)
        os.write(1, b"noise" * 1000)
        os.write(2, b"noise" * 1000)""".strip(),
    "not_a_number": "return cost * float('nan')",
}


def write(folder, *names):
    """Writes plugin files; returns their paths."""
    files = []
    for name in names:
        file = folder / f"{name}.py"
        file.write_text(_FRAME.format(name=name.title().replace("_", ""), body=BODIES[name]))
        files.append(str(file))
    return tuple(files)
