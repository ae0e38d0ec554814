import os
import random
import signal
import sys
import threading
import warnings

import numpy as np
import pytest
import torch

from estbench.runtime import search_path
from estbench.runtime.process_state import ProcessState, settle, unchanged
from estbench.store import files


def _zero_grad():
    torch.optim.Adam.zero_grad = lambda self: None


CHANGES = {
    "a method of an optimiser": (lambda: setattr(torch.optim.Adam, "step", lambda self: None), "adam.Adam.step"),
    "a method that was inherited": (_zero_grad, "adam.Adam.zero_grad"),
    "an operator of tensors": (lambda: setattr(torch.Tensor, "__add__", lambda self, other: self), "Tensor.__add__"),
    "a function of torch": (lambda: setattr(torch, "randn", torch.rand), "torch.randn"),
    "a functional": (lambda: setattr(torch.nn.functional, "relu", torch.sigmoid), "functional.relu"),
    "a module's function below": (
        lambda: setattr(sys.modules["torch.optim.adam"], "adam", None),
        "torch.optim.adam.adam",
    ),
    "a function of ours": (lambda: setattr(files, "digest", str), "estbench.store.files.digest"),
    "a function of Python": (lambda: setattr(random, "random", lambda: 0.5), "random.random"),
    "validation of distributions": (
        lambda: torch.distributions.Distribution.set_default_validate_args(
            not torch.distributions.Distribution._validate_args
        ),
        "Distribution._validate_args",
    ),
    "the grad mode": (lambda: torch.set_grad_enabled(False), "torch's grad mode"),
    "the default dtype": (lambda: torch.set_default_dtype(torch.float64), "torch's default dtype"),
    "the default device": (lambda: torch.set_default_device("meta"), "torch's default device"),
    "determinism": (lambda: torch.use_deterministic_algorithms(True), "torch's deterministic mode"),
    "denormal numbers": (lambda: torch.set_flush_denormal(True), "torch's denormal numbers"),
    "anomaly detection": (lambda: torch.autograd.set_detect_anomaly(True), "torch's anomaly detection"),
    "a hook for every module": (
        lambda: torch.nn.modules.module.register_module_forward_hook(lambda *_: None),
        "torch's global hooks",
    ),
    "numpy's errors": (lambda: np.seterr(all="raise"), "numpy's error handling"),
    "the environment": (lambda: os.environ.update(ESTBENCH_TEST="1"), "the environment's variables"),
    "a variable that is gone": (lambda: os.environ.pop("PATH"), "the environment's variables"),
    "the folder": (lambda: os.chdir("/"), "the working folder"),
    "the search path": (lambda: sys.path.insert(0, "/nowhere"), "the search path of imports"),
    "a signal": (lambda: signal.signal(signal.SIGUSR1, lambda *_: None), "handlers of signals"),
    "Ctrl-C": (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), "handlers of signals"),
    "warnings": (lambda: warnings.simplefilter("error", ResourceWarning), "warnings as errors"),
    "a stream": (lambda: setattr(sys, "stdout", None), "standard streams"),
    "uncaught exceptions": (lambda: setattr(sys, "excepthook", None), "handlers of exceptions"),
    "recursion": (lambda: sys.setrecursionlimit(77_777), "the recursion limit"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_and_put_back(name):
    """A change of the state is named, and afterwards the state is as it was."""
    change, said = CHANGES[name]
    settle()
    before = ProcessState.now()
    try:
        change()
        found = before.changes()
    finally:
        before.restore()
    assert len(found) == 1, found
    assert found[0].endswith(said)
    assert before.changes() == []


def test_training_changes_nothing():
    """What torch does by itself where something is trained is no change: first optimisers of classes, a profiler."""
    settle()
    before = ProcessState.now()
    parameter = torch.nn.Parameter(torch.zeros(2))
    for kind in (torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop):
        optimizer = kind([parameter], lr=0.1)
        torch.distributions.Normal(parameter, 1.0).rsample().sum().backward()
        optimizer.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        parameter.exp().sum().backward()
    torch.func.vmap(torch.func.grad(lambda x: x.square().sum()))(torch.ones(3, 2))
    assert before.changes() == []


def test_a_folder_of_plugins_is_no_change(tmp_path):
    """That estbench looks for what lies beside a plugin file is its own doing, and stays."""
    before, kept = ProcessState.now(), list(sys.path)
    try:
        search_path.add(str(tmp_path))
        sys.path.insert(0, "/nowhere")
        assert before.changes() == ["the search path of imports"]
        before.restore()
        assert sys.path == [*kept, str(tmp_path)]
    finally:
        sys.path[:] = kept


def test_a_thread_that_goes_on_is_seen():
    """It cannot be ended, but it is named."""
    before, stop = ProcessState.now(), threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert before.changes() == ["threads, which go on"]
    finally:
        stop.set()
        thread.join()
    assert before.changes() == []


def test_what_pydantic_keeps_in_a_class_is_no_change():
    """A dataclass that pydantic looks at while other code runs stays as pydantic left it, and can be read again."""
    from pydantic import TypeAdapter

    from estbench.store.run_folder import RunInfo

    with unchanged() as changed:
        TypeAdapter(RunInfo).validate_python({"seeds": [0]})
    assert not changed
    assert RunInfo.read({"seeds": [0]}).seeds == [0]
