"""Executors: where cells are measured; one a file, found by looking into this folder and at installed packages."""

import joblib

from estbench.errors import UserError, nearest, warn
from estbench.execution.executors.base import Executor
from estbench.plugins import options
from estbench.plugins.registry import parts
from estbench.plugins.spec import Spec

AUTO = "auto"


def make(spec: Spec, workers: int | None, device: str) -> Executor:
    """An executor by its name and options, ``ray[address=auto,gpus=0.25]``.

    Args:
        spec: as ``estbench list executors`` names them, or ``auto``: local where there are several cores to share out
            or a GPU, which a failed kernel takes from the process that started it; else inline.
        workers: how many cells at once; None for what the executor makes of the machine.
        device: where the cells run.

    Raises:
        UserError: there is no such executor, or it is not installed, or an option is not what it must be, or it cannot
            measure cells on the device.
    """
    found = parts("executor")
    for problem in found.problems:
        warn(problem)
    if spec.name == AUTO:
        spec = _automatic(workers, device)
    if spec.name not in found.plugins:
        raise UserError(f"unknown executor {spec.name!r}; {nearest(spec.name, [AUTO, *found.plugins])}")
    cls = found[spec.name].load()
    if workers and "workers" in options.options_of(cls):
        spec = spec.having({"workers": workers})
    executor: Executor = options.construct(cls, spec)
    if refusal := executor.refusal(device):
        raise UserError(f"{spec}: {refusal}")
    return executor


def elsewhere(name: str) -> bool:
    """Whether an executor measures cells on other machines; False for one that there is not."""
    found = parts("executor").plugins
    return name in found and bool(found[name].declared.get("elsewhere", False))


def _automatic(workers: int | None, device: str) -> Spec:
    import torch  # noqa: PLC0415  (slow)

    if device == "cuda":
        return Spec("local", {"gpus": torch.cuda.device_count()})
    if device.startswith("cuda"):
        return Spec("local", {"workers": 1})
    return Spec("local" if (workers or joblib.cpu_count()) > 1 else "inline")
