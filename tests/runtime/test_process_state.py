import gc
import os
import random
import resource
import signal
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from estbench.runtime import search_path
from estbench.runtime.process_state import ProcessState, settle, unchanged
from estbench.store import files


def _zero_grad():
    torch.optim.Adam.zero_grad = lambda self: None


ENTERED = []


def _entered(mode):
    """Enters a mode that nobody leaves; while it is referenced it stays."""
    ENTERED.append(mode)
    mode.__enter__()


def _limited(which, soft):
    resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))


class Doubles(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        return found * 2 if isinstance(found, torch.Tensor) else found


class Negates(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        return -found if isinstance(found, torch.Tensor) else found


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
    "a method of pandas": (lambda: setattr(pd.DataFrame, "to_csv", None), "DataFrame.to_csv"),
    "a function of pyarrow": (lambda: setattr(pq, "write_table", None), "pyarrow.parquet.write_table"),
    "a method of paths": (lambda: setattr(Path, "read_bytes", None), "pathlib.Path.read_bytes"),
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
    "inference mode": (lambda: _entered(torch.inference_mode()), "torch's inference mode"),
    "autocast": (lambda: _entered(torch.autocast("cpu", torch.bfloat16)), "torch's autocast"),
    "hooks on saved tensors": (
        lambda: _entered(torch.autograd.graph.saved_tensors_hooks(lambda x: 0 * x, lambda x: x)),
        "torch's hooks on saved tensors",
    ),
    "a function mode": (lambda: _entered(Doubles()), "torch's function modes"),
    "a dispatch mode": (lambda: _entered(Negates()), "torch's dispatch modes"),
    "the mask of files": (lambda: os.umask(0o777), "the mask of new files"),
    "a limit": (lambda: _limited(resource.RLIMIT_NOFILE, 99), "limits of the process"),
    "the collector": (gc.disable, "garbage collection"),
    "a module that is gone": (lambda: sys.modules.pop("json"), "imported modules"),
    "a tracer": (lambda: sys.setprofile(lambda *_: None), "tracing"),
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
    # inference mode turns the grad mode off, too
    assert len(found) == 1 + (name == "inference mode"), found
    assert found[-1].endswith(said)
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
