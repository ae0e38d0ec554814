"""In a real Jupyter kernel: bar, classes of cells, interrupts, and the end of the kernel."""

import time

import psutil
import pytest
from jupyter_client.manager import start_new_kernel

OWN = """
import estbench

class Shifted(estbench.ScoreFunction):
    unbiased = True

    def baseline(self, name, node, cost):
        return SHIFT * cost.detach().mean(0, keepdim=True) * 0 + SHIFT

class AlsoShifted(Shifted):
    unbiased = True

SHIFT = 0.25
what = dict(tasks="toy[units=2]", estimators=[Shifted, AlsoShifted, "rloo"], measures="training[steps=4,evaluations=1]",
            seeds=1, store={store!r})
run = estbench.compare(**what, executor="local[workers=2]", progress=True)
run
"""
LONG = """
import estbench
estbench.compare("toy[units=2]", "rloo,reinforce", "training[steps=4,samples=0],training[steps=100000000,samples=0]",
                 1, store={store!r}, executor="local[workers=2]", ensemble="off", checkpoint=1)
"""


class Notebook:
    """A kernel, and what its cells gave."""

    def __init__(self):
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def cell(self, code):
        """Runs a cell; its outputs, by kind."""
        outputs = []
        reply = self.client.execute_interactive(code, timeout=200, output_hook=outputs.append, store_history=True)
        return reply["content"], [each["content"] for each in outputs if "data" in each["content"]]

    @property
    def workers(self):
        """The processes that the kernel started, and those started."""
        return psutil.Process(self.manager.provisioner.pid).children(recursive=True)

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel()


@pytest.fixture
def notebook():
    opened = Notebook()
    yield opened
    if opened.manager.has_kernel:
        opened.close()


@pytest.mark.long
def test_cells_are_measured_shown_and_kept(notebook, tmp_path):
    """Classes of a cell reach the workers, the bar is a widget, and what is kept is taken.

    A class whose constant changed is measured anew, and nothing else.
    """
    cell = OWN.replace("{store!r}", repr(str(tmp_path)))
    reply, shown = notebook.cell(cell)
    assert reply["status"] == "ok", reply.get("evalue")
    kinds = [set(each["data"]) for each in shown]
    assert any("application/vnd.jupyter.widget-view+json" in each for each in kinds)
    page = next(each["data"]["text/html"] for each in shown if "text/html" in each["data"])
    assert all(name in page for name in ("shifted", "also_shifted", "rloo"))
    assert notebook.cell("set(run.results.status)")[1][0]["data"]["text/plain"] == "{'ok'}"
    _, figure = notebook.cell("run.figure('training')")
    assert "image/png" in figure[0]["data"]
    assert notebook.cell(f"page = run.report({str(tmp_path / 'report')!r})")[1] == []
    left = "estbench.plan(**what).summary"
    assert "3 cells, 3 of them kept" in notebook.cell(left)[1][0]["data"]["text/plain"]
    notebook.cell(cell.partition("run =")[0].replace("SHIFT = 0.25", "SHIFT = 0.5"))
    assert "3 cells, 1 of them kept" in notebook.cell(left)[1][0]["data"]["text/plain"]


@pytest.mark.long
def test_an_interrupt_keeps_what_is_done_and_closing_leaves_no_workers(notebook, tmp_path):
    """A stopped cell raises KeyboardInterrupt, what was measured is kept, and the workers end with the kernel."""
    code = LONG.replace("{store!r}", repr(str(tmp_path)))
    sent = notebook.client.execute(code)
    wait(lambda: len(list((tmp_path / "cells").glob("*.parquet"))) >= 2)
    notebook.manager.interrupt_kernel()
    reply = notebook.client.get_shell_msg(timeout=100)
    while reply["parent_header"].get("msg_id") != sent:
        reply = notebook.client.get_shell_msg(timeout=100)
    assert (reply["content"]["status"], reply["content"].get("ename")) == ("error", "KeyboardInterrupt")
    plan = code.replace("compare(", "plan(").rstrip() + ".summary"
    assert "4 cells, 2 of them kept" in notebook.cell(plan)[1][0]["data"]["text/plain"]
    workers = notebook.workers
    notebook.close()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive


def wait(until):
    """Waits until something holds, for as long as a busy machine may need."""
    end = time.monotonic() + 200
    while not until():
        assert time.monotonic() < end
        time.sleep(0.2)
