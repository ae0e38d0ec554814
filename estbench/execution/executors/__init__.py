"""Executors: where cells are measured."""

import importlib
from typing import Any

import joblib

from estbench.errors import UserError, nearest
from estbench.execution.executors.base import Executor
from estbench.plugins.options import make as make_checked
from estbench.plugins.spec import Spec

# imported only when asked for: some need packages that not everybody has
_HOMES = {"inline": "inline:Inline", "local": "local:Local", "ray": "on_ray:Ray", "slurm": "on_slurm:Slurm"}
NAMES = ("auto", *_HOMES)


def make(spec: Spec, workers: int | None, device: str) -> Executor:
    """An executor by its name and options, ``ray[address=auto,gpus=0.25]``.

    Args:
        spec: ``inline``, ``local``, ``ray``, ``slurm``, or ``auto``: local where there are several cores to share out
            or a GPU, which a failed kernel takes from the process that started it; else inline.
        workers: how many cells at once; None for what the executor makes of the machine.
        device: where the cells run.

    Raises:
        UserError: there is no such executor, or it is not installed, or an option is not what it must be.
    """
    if spec.name not in NAMES:
        raise UserError(f"unknown executor {spec.name!r}; {nearest(spec.name, NAMES)}")
    if spec.name == "auto":
        spec = _automatic(workers, device)
    if spec.name == "ray" and device.startswith("cuda") and not spec.options.get("gpus"):
        raise UserError(f"ray shows cells no GPU that they do not ask for: --executor 'ray[gpus=1]'; got '{spec}'")
    if spec.name == "local" and spec.options.get("gpus") and ":" in device:
        raise UserError(
            f"every worker of {spec} sees one GPU, as its only one, so its cells run on --device cuda; "
            f"got --device {device}"
        )
    if workers and spec.name != "inline":
        spec = spec.having({"workers": workers})
    return make_checked(_load(spec.name), spec)


def _load(name: str) -> type[Any]:
    module, _, cls = _HOMES[name].partition(":")
    try:
        return getattr(importlib.import_module(f"estbench.execution.executors.{module}"), cls)
    except ModuleNotFoundError as error:
        raise UserError(f"the {name} executor needs {error.name}: pip install 'estbench[{name}]'") from error


def _automatic(workers: int | None, device: str) -> Spec:
    import torch  # noqa: PLC0415  (slow)

    if device == "cuda":
        return Spec("local", {"gpus": torch.cuda.device_count()})
    if device.startswith("cuda"):
        return Spec("local", {"workers": 1})
    return Spec("local" if (workers or joblib.cpu_count()) > 1 else "inline")
