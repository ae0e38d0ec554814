"""What plugins do wrong: statements and values, as source. Each starts one process or thread at most."""

# statements; each stands where a plugin is asked for something
STATEMENTS = {
    "value_error": 'raise ValueError("no\\nsuch value")',
    "type_error": 'raise TypeError("no such type")',
    "key_error": 'raise KeyError("key")',
    "os_error": 'raise OSError(28, "No space left on device", "somewhere")',
    "assertion": "assert False",
    "stop": "raise StopIteration",
    "memory": 'raise MemoryError("all of it")',
    "recursion": "(lambda f: f(f))(lambda f: f(f))",
    "group": 'raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])',
    "exit": "sys.exit(0)",
    "exit_text": 'sys.exit("text \\x1b[31m")',
    "base": 'raise BaseException("base")',
    "interrupt": "raise KeyboardInterrupt",
    "generator_exit": "raise GeneratorExit",
    "no_text": "raise NoText",
    "text_is_no_text": "raise TextIsNoText",
    "no_pickle": "raise NoPickle(1, 2)",
    "long": 'raise RuntimeError("x" * 100_000)',
    "control": r'raise RuntimeError("\x00 \x1b[31mred\x1b[0m \r\n \u202e [bold]b[/bold] <b> | $x_1$ & % \\ _")',
    "halves": r'raise RuntimeError("\ud800")',
    "formula": 'raise RuntimeError("=1+1")',
    "user_error": 'raise __import__("estbench.errors").errors.UserError("two\\nlines")',
    "not_applicable": 'raise __import__("estbench").NotApplicableError("not\\nthis one")',
    "warning": 'warnings.warn("babble")',
    "print": 'print("babble" * 1000); print("babble", file=sys.stderr); os.write(1, b"babble"); os.write(2, b"babble")',
    "log": 'logging.basicConfig(); logging.error("babble")',
    "os_exit": "os._exit(0)",
    "abort": "os.abort()",
    "segv": "ctypes.string_at(0)",
    "kill": "os.kill(os.getpid(), 9)",
    "terminate": "os.kill(os.getpid(), 15)",
    "sigint": "os.kill(os.getpid(), 2)",
    "hang": "time.sleep(3600)",
    "stubborn": "stubborn()",
    "fork": "os.getpid() == FIRST and not KEPT and KEPT.append(os.fork())",
    "child": 'KEPT or KEPT.append(subprocess.Popen(["sleep", "600"]))',
    "session": 'KEPT or KEPT.append(subprocess.Popen(["sleep", "600"], start_new_session=True))',
    "orphan": 'KEPT or KEPT.append(os.system("sleep 600 &"))',
    "thread": "KEPT or KEPT.append(threading.Thread(target=time.sleep, args=(600,), daemon=True).start())",
    "thread_raises": "KEPT or KEPT.append(threading.Thread(target=lambda: 1 / 0).start())",
    "at_exit": "KEPT or KEPT.append(atexit.register(os._exit, 0))",
    "at_exit_raises": "KEPT or KEPT.append(atexit.register(lambda: 1 / 0))",
    "deleted": "KEPT.append(Deleted())",
    "close": "os.close(1); os.close(2)",
    "close_streams": "sys.stdout.close(); sys.stderr.close()",
    "no_streams": "sys.stdout = sys.stderr = None",
    "folder": 'os.chdir("/")',
    "gone_folder": 'os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")',
    "environment": "os.environ.clear()",
    "mask": "os.umask(0o777)",
    "path": "sys.path.clear()",
    "modules": 'sys.modules.pop("torch"); sys.modules.pop("json")',
    "alarm": "signal.setitimer(signal.ITIMER_REAL, 0); signal.signal(signal.SIGALRM, signal.SIG_IGN)",
    "limit": "sys.setrecursionlimit(120)",
    "small_files": "resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))",
    "few_files": "resource.setrlimit(resource.RLIMIT_NOFILE, (8, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))",
    "no_gc": "gc.disable()",
    "trace": 'sys.settrace(lambda *a: (_ for _ in ()).throw(RuntimeError("trace")))',
    "errors": 'warnings.simplefilter("error")',
    "seeds": "torch.manual_seed(0); np.random.seed(0); random.seed(0)",
    "float64": "torch.set_default_dtype(torch.float64)",
    "no_grad": "torch.set_grad_enabled(False)",
    "threads": "torch.set_num_threads(2)",
    "meta": 'torch.set_default_device("meta")',
    "anomaly": "torch.autograd.set_detect_anomaly(True)",
    "adam": "torch.optim.Adam.step = lambda self, *a: None",
    "optimizer": "torch.optim.Optimizer.zero_grad = lambda self, *a: None",
    "module": "torch.nn.Module.__call__ = lambda self, *a: a[0]",
    "linear": "torch.nn.Linear.forward = lambda self, x: x",
    "bernoulli": "torch.bernoulli = torch.Tensor.bernoulli_ = lambda x, *a, **k: x",
    "backward": "torch.Tensor.backward = lambda self, *a, **k: None",
    "rand": "torch.rand = torch.zeros",
    "sigmoid": "torch.nn.functional.logsigmoid = torch.nn.functional.softplus = torch.zeros_like",
    "kl": "torch.distributions.kl_divergence = lambda *a: 0",
    "mode": "MODES.append(torch.inference_mode()); MODES[-1].__enter__()",
    "autocast": 'MODES.append(torch.autocast("cpu", torch.bfloat16)); MODES[-1].__enter__()',
    "function_mode": "MODES.append(Doubles()); MODES[-1].__enter__()",
    "dispatch_mode": "MODES.append(Negates()); MODES[-1].__enter__()",
    "saved_hooks": "MODES.append(torch.autograd.graph.saved_tensors_hooks(lambda x: 0 * x, lambda x: x)); "
    "MODES[-1].__enter__()",
    "forward_hook": "torch.nn.modules.module.register_module_forward_hook(lambda m, i, o: None)",
    "node": "__import__('estbench').Bernoulli.sample = lambda self, *a: self.logits",
    "program": "__import__('estbench.core.program').core.program.draw = None",
    "replace": "os.replace = os.rename = lambda *a: None",
    "open": "builtins.open = Path.open = Path.read_bytes = None",
    "json": "json.dumps = json.loads = repr",
    "clock": "time.time = time.perf_counter = time.monotonic = lambda: 0.0",
    "frame": "pd.DataFrame.to_csv = lambda *a, **k: ''",
    "arrow": "pq.write_table = lambda *a, **k: None",
    "isinstance": "builtins.isinstance = lambda *a: False",
    "print_function": "builtins.print = None",
    "gumbel_data": "[x.zero_() for x in gc.get_objects() if type(x) is torch.Tensor and x.dtype == torch.float32 "
    "and not x.requires_grad and x.numel() > 5]",
}
# what stands where something else is expected
VALUES = (
    "None", "3", "'text'", "float('nan')", "float('inf')", "1j", "[]", "{}", "torch.ones(3)", "torch.ones(0)",
    "torch.ones(2, 3, 5)", "torch.tensor(float('nan'))", "torch.ones(3, dtype=torch.int64)", "np.ones(3)", "object()",
    "lambda: 1", "torch.ones(3).to_sparse()", "torch.ones(4, dtype=torch.complex64)", "torch.empty(3, device='meta')",
    "NoText", "Text('x')", "b'bytes'", "True", "iter(())", "(_ for _ in ())", "10 ** 400", "-1", "0", "''",
)  # fmt: skip
HEAD = """
import atexit, builtins, ctypes, gc, json, logging, os, random, resource, signal, subprocess, sys, threading, time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from estbench import Bernoulli, Categorical, Estimator, Measure, Metric, Pathwise, Row, ScoreFunction, Splits, Task
from estbench.tasks.toy import Toy

MODES, KEPT, FIRST = [], [], os.getpid()


class NoText(Exception):
    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


class TextIsNoText(Exception):
    def __str__(self):
        return 3


class NoPickle(Exception):
    def __init__(self, one, two):
        self.lock = threading.Lock()


class Deleted:
    def __del__(self):
        raise RuntimeError("deleted")


class Text(str):
    def __str__(self):
        raise RuntimeError("no text")


class Doubles(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        return found * 2 if isinstance(found, torch.Tensor) and found.is_floating_point() else found


class Negates(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        return -found if isinstance(found, torch.Tensor) and found.is_floating_point() else found


def stubborn():
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass
"""
