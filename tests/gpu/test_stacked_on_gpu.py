"""Optimisers of replicas on a GPU, which count their steps on the device."""

import functools

import pytest
import torch

from estbench.core.task import Trainer
from estbench.engine.training.stacked_optimizer import StackedTrainer
from tests.support.pretended_gpu import pretended

KINDS = {
    "adam": torch.optim.Adam,
    "fused adam": functools.partial(torch.optim.Adam, fused=True),
    "radam": torch.optim.RAdam,
    "sgd": functools.partial(torch.optim.SGD, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
}
RATES, STEPS, START = (0.01, 0.03), 12, 5


def trained(kind, rate, start, gradients):
    """The parameters after each step of torch's own optimiser on the CPU, and the optimiser."""
    parameter = torch.nn.Parameter(start.clone())
    optimizer, found = kind([parameter], lr=rate), []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        found.append(parameter.detach().clone())
    return torch.stack(found), parameter, optimizer


@pytest.mark.parametrize("begun", [0, START])
@pytest.mark.parametrize("name", KINDS)
def test_steps_are_those_of_torch(name, begun, monkeypatch):
    """Twelve steps of each optimiser, also of one that is gone on with, are torch's own to 1e-6 of their length.

    On the device RAdam takes the difference of two numbers near 2,000, which float32 does not hold.
    """
    torch.manual_seed(0)
    start, gradients = torch.randn(len(RATES), 40), torch.randn(len(RATES), STEPS, 40)
    expected = [trained(KINDS[name], *each) for each in zip(RATES, start, gradients, strict=True)]
    own = (
        [trained(KINDS[name], *each) for each in zip(RATES, start, gradients[:, :begun], strict=True)]
        if begun
        else [
            (None, p := torch.nn.Parameter(x.clone()), KINDS[name]([p], lr=rate))
            for rate, x in zip(RATES, start, strict=True)
        ]
    )
    with pretended(monkeypatch) as where:
        parameters = []
        for _, parameter, optimizer in own:
            where.put(parameter.data, torch.device("cuda", 0))
            for value in optimizer.state.get(parameter, {}).values():
                where.put(value, torch.device("cuda", 0) if value.ndim or name == "fused adam" else torch.device("cpu"))
            parameters.append(parameter)
        trainers = [Trainer([optimizer], []) for *_, optimizer in own]
        stacked = StackedTrainer(trainers, [{id(parameter): "x"} for parameter in parameters])
        assert stacked.leaves["x"].is_cuda
        for step in range(begun, STEPS):
            stacked.step({"x": gradients[:, step].to("cuda")})
            for replica, (path, *_) in enumerate(expected):
                before = path[step - 1] if step else start[replica]
                error = (stacked.leaves["x"][replica].detach().cpu() - path[step]).norm()
                assert float(error) < 1e-6 * max(float((path[step] - before).norm()), float(path[step].norm()) / 4)
        stacked.unstack()
    for (_, parameter, optimizer), (path, same, theirs) in zip(own, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), path[-1], rtol=1e-6, atol=1e-6)
        for key, value in theirs.state[same].items():
            assert optimizer.state[parameter][key].dtype == value.dtype
            torch.testing.assert_close(optimizer.state[parameter][key], value, rtol=1e-5, atol=1e-6)
    assert torch.get_default_dtype() == torch.float32
