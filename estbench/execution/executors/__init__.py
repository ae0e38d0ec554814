"""Executors, which measure cells in some place; each is a file of this folder or part of an installed package."""

import joblib

from estbench.errors import UserError, nearest, warn
from estbench.execution.executors.base import Executor
from estbench.plugins import options
from estbench.plugins.registry import parts
from estbench.plugins.spec import Spec

AUTO = "auto"


def make(spec: Spec, workers: int | None, device: str) -> Executor:
    """An executor by its name and options, such as ``ray[address=auto,gpus=0.25]``.

    Args:
        spec: a name from ``estbench list executors``, or ``auto``. The latter is ``local`` if there are several cores
            or a GPU, which a process cannot use any more after a failed kernel; otherwise it is ``inline``.
        workers: number of cells that are measured at once; None for the executor's default on this machine.
        device: the device of the cells.

    Raises:
        UserError: the executor does not exist or is not installed, an option is invalid, or it cannot measure cells on
            the device.
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
    """Whether an executor measures cells on other machines; False if there is no such executor."""
    found = parts("executor").plugins
    return name in found and bool(found[name].declared.get("elsewhere", False))


def _automatic(workers: int | None, device: str) -> Spec:
    import torch  # noqa: PLC0415  (slow)

    if device == "cuda":
        return Spec("local", {"gpus": torch.cuda.device_count()})
    if device.startswith("cuda"):
        return Spec("local", {"workers": 1})
    return Spec("local" if (workers or joblib.cpu_count()) > 1 else "inline")
