"""Cost model: whether replicas train faster as one batch on a CPU, and how many replicas fit into a GPU."""

import copy
import sys
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from estbench.engine.training.ensemble import ROWS_AT_ONCE
from estbench.engine.training.training_run import TrainingRun
from estbench.runtime.memory import free

# docs/how-to/gpu.md, measured with benchmarks/ensemble.py: many replicas at once are slower than one after another if a
# step writes more than the caches hold and its operations take long compared with their launch overhead
LARGE_STEP, LARGE_OPERATION = 5 * 2**20, 2**15


def together_pays(run: TrainingRun) -> bool:
    """Whether a run trained in one batch with others like it takes no longer than all of them one after another."""
    if run.bench.device.type != "cpu":
        return True
    made = _step(run)
    return made.bytes <= LARGE_STEP or made.bytes <= LARGE_OPERATION * made.operations


def replicas_that_fit(run: TrainingRun) -> int:
    """How many such replicas fit into the memory of their GPU, evaluation included; there is no limit on a CPU.

    The estimate errs on the safe side, since a GPU's allocator leaves gaps and its libraries need memory of their own.
    For 64 MNIST VAEs (1.8 MB of parameters, 9 MB per step) it sets aside 7.8 GB. On a CPU, one replica of such an
    ensemble keeps 7.5 MB, uses 12.6 MB while it is stacked and 5.3 MB during a step, and the evaluation of 1,000 rows
    uses 17 MB.
    """
    device = run.bench.device
    if device.type == "cpu":
        return sys.maxsize
    made, examples = _step(run).bytes, len(run.minibatches.at(run.step)[0])
    state = sum(x.nbytes for module in (run.model, run.estimator) for x in module.parameters())
    evaluation = ROWS_AT_ONCE[device.type] * made // examples // 2
    return max(1, (free(device) * 3 // 4 - evaluation) // max(1, made + 8 * state))


def _step(run: TrainingRun) -> "_Made":
    """Counts the tensors that a training step creates, without the optimiser's update."""
    # a copy, since estimators count steps
    model, estimator = copy.deepcopy((run.model, run.estimator))
    with run.bench.aside("worth"), _Made() as made:  # type: ignore[no-untyped-call]
        estimator(model(*run.minibatches.at(run.step))).backward()
    return made


class _Made(TorchDispatchMode):
    """Counts operations that create tensors, and the bytes of these tensors."""

    operations = bytes = 0

    def __torch_dispatch__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        known = {_place(x) for x in tree_leaves((args, kwargs or {})) if isinstance(x, Tensor)}
        made = [x for x in tree_leaves(result) if isinstance(x, Tensor) and _place(x) not in known]
        self.operations += bool(made)
        self.bytes += sum(x.nbytes for x in made)
        return result


def _place(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()
