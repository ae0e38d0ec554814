"""Checks of an estimator's state (seeds, leaks, tuning, pickling) and of extreme numbers."""

import math
import pickle
from functools import partial

import torch
from torch import Tensor, nn

from estbench.core.program import Program
from estbench.engine.moments.routes import equal, even, uneven
from estbench.testing.border import Rounded
from estbench.testing.compare import difference, modes, seeded
from estbench.testing.programs import Estimate, Recipe
from estbench.testing.replicates import one_gradient, replicates
from estbench.testing.subject import Subject
from estbench.testing.verdict import Fault, Inapplicable

EXTREME = 60.0
TUNING_STEPS = 40
# for relaxed samples, which are cast to a dtype of 8 bits; gradients are returned in it, which may reverse a comparison
ROUNDING = 0.05


def seed(subject: Subject) -> str:
    """The same seed gives the same estimate, from one instance and from another, and another seed another sample."""
    for recipe in subject.applicable():
        bench, other = subject.bench(recipe), subject.bench(recipe)
        elsewhere = seeded(subject, other)
        # the second call starts from the state that the first one leaves
        first, again = (_called(subject, bench) for _ in range(2))
        if difference(first, again) > 0:
            raise Fault(f"two calls with one seed differ ({recipe.name})")
        if difference(first, elsewhere) > 0:
            raise Fault(f"two instances with one seed differ ({recipe.name})")
        if _fixed(subject, recipe):
            raise Fault(
                "its samples differ between variables of one distribution and never between seeds: it draws from a "
                f"generator with a fixed seed ({recipe.name})"
            )
    return "equal"


def _fixed(subject: Subject, recipe: Recipe) -> bool:
    """Whether its samples are random and the same for all seeds; what is not random has samples that are all alike."""
    values: dict[str, Tensor] = {}
    bench = subject.bench(recipe, around=lambda net: _Levelled(net, values))
    found = []
    for seed in (6, 7):
        estimate = _called(subject, bench, seed)
        found.append({**estimate, **{f"samples of {name}": each for name, each in values.items()}})
    return equal(found[0], found[1], 0) and any(uneven(each) for each in values.values())


class _Levelled(nn.Module):
    """A net in which all values are equally likely.

    Args:
        net: the net.
        values: receives its samples.
    """

    def __init__(self, net: nn.Module, values: dict[str, Tensor]) -> None:
        super().__init__()
        self._net, self._values = net, values

    def forward(self) -> Program:
        """The net's program, levelled."""
        return even(self._net(), self._values)


def _called(subject: Subject, bench: Estimate, seed: int = 6) -> dict[str, Tensor]:
    with subject.seeded(seed):
        value, gradients = one_gradient(bench)
    return {"value": value, **gradients}


def leaks(subject: Subject) -> str:
    """Tuning its parameters does not change the model's gradient, and the cost has no gradient for them."""
    for recipe in subject.applicable():
        (still, _), (training, _) = modes(subject, recipe)
        with_none, with_tuning = seeded(subject, still), seeded(subject, training)
        for name, gradient in with_none.items():
            owner, _, parameter = name.partition(".")
            if owner == "estimator" and gradient.abs().max() > 0:
                raise Fault(f"in eval mode the cost's gradient reaches its own {parameter} ({recipe.name})")
            if owner == "model" and difference({name: gradient}, {name: with_tuning[name]}) > 1e-9:
                raise Fault(
                    f"training mode changes the model's gradient ({parameter}, {recipe.name}): "
                    f"what tunes it reaches the model, or draws randomness before the gradient does"
                )
    return "none"


def tuning(subject: Subject) -> str:
    """Training the estimator's parameters does not raise the variance of its gradient, by half over all programs."""
    if not list(subject.bench(next(subject.applicable())).estimator.parameters()):
        raise Inapplicable("it has no parameters")
    ratios = []
    for recipe in subject.applicable():
        bench = subject.bench(recipe, batch=(256,)).train()
        before = _power(subject, bench)
        with subject.seeded(7):
            _tune(bench)
        ratios.append(_power(subject, bench) / before)
    measured = f"variance times {', '.join(f'{ratio:.2f}' for ratio in ratios)} in {TUNING_STEPS} steps"
    # single ratios are noisy, and a baseline fitted to the cost is only near the one of least variance
    if math.prod(ratios) ** (1 / len(ratios)) > 1.5:
        raise Fault(f"training its parameters raises the variance of its gradient: {measured}", measured)
    return measured


def _tune(bench: Estimate) -> None:
    """Trains the estimator and not the model."""
    optimizer = torch.optim.Adam(bench.estimator.parameters(), lr=0.02)
    for _ in range(TUNING_STEPS):
        optimizer.zero_grad()
        bench().backward()
        if all(p.grad is None for p in bench.estimator.parameters()):
            raise Fault("its parameters have no gradient in training mode")
        optimizer.step()


def _power(subject: Subject, bench: Estimate) -> float:
    """The mean square of the gradient for the logits of one example, in eval mode."""
    total = 0.0
    bench.eval()
    for stream in range(16):
        with subject.seeded(8, stream):
            gradients = one_gradient(bench)[1]
        shifts = [g for name, g in gradients.items() if name.startswith("model.logits")]
        total += sum(float(g.square().sum()) for g in shifts)
    bench.train()
    return total


def untouched(subject: Subject) -> str:
    """A call changes no parameter and stores no gradient, and in eval mode no running statistic either."""
    for recipe in subject.applicable():
        for bench, mode in modes(subject, recipe):
            owner: torch.nn.Module = bench if mode == "eval mode" else bench.model
            before = {name: tensor.clone() for name, tensor in owner.state_dict().items()}
            with subject.seeded(9):
                bench()
            changed = [name for name, tensor in owner.state_dict().items() if not tensor.equal(before[name])]
            if changed or any(p.grad is not None for p in bench.parameters()):
                what = changed[0] if changed else "a parameter's .grad"
                raise Fault(f"a call in {mode} changes {what} ({recipe.name})")
    return "nothing changed"


def state_dict(subject: Subject) -> str:
    """All of its state is in its ``state_dict`` and can be restored from it."""
    entries = 0
    for recipe in subject.applicable():
        bench = subject.bench(recipe)
        state = bench.estimator.state_dict()
        fresh = subject.make().double().prepare(bench.model())
        fresh.load_state_dict(state)
        if difference(seeded(subject, bench), seeded(subject, Estimate(bench.model, fresh.eval()))) > 0:
            raise Fault(f"restored from its state_dict it gives another estimate ({recipe.name})")
        entries = max(entries, len(state))
    return f"{entries} entries"


def pickles(subject: Subject) -> str:
    """It can be pickled and restored, which worker processes need."""
    size = 0
    for recipe in subject.applicable():
        bench = subject.bench(recipe)
        before = seeded(subject, bench)
        try:
            data = pickle.dumps(bench.estimator)
            bench.estimator = pickle.loads(data)  # noqa: S301  (our own bytes)
        except Exception as error:
            raise Fault(f"it cannot be pickled: {type(error).__name__}: {error}") from error
        if difference(before, seeded(subject, bench)) > 0:
            raise Fault(f"pickled and restored it gives another estimate ({recipe.name})")
        size = max(size, len(data))
    return f"{size:,} bytes"


def vmap(subject: Subject) -> str:
    """Under ``torch.func.vmap`` it gives the estimates that it gives alone; otherwise it is measured by a slow loop."""
    if subject.obstacle and not subject.declared.mappable:
        raise Inapplicable(f"{subject.obstacle}; its replicates take a loop")
    if subject.obstacle:
        raise Fault(f"{subject.obstacle}; its replicates take a loop, which is slower, here and in measurements")
    return "equal"


def extremes(subject: Subject) -> str:
    """In float32, value and gradients are finite at logits of magnitude 60."""
    for recipe in subject.applicable():
        # one for all patterns: what it keeps of one must not break the next
        bench = subject.bench(recipe, torch.float32)
        for pattern in ((1, 1), (-1, -1), (1, -1), (0, 1), (-1, 0)):
            saturate(bench.eval(), pattern)
            with subject.seeded(11):
                next(replicates(bench, 256))
                for _ in range(4):
                    gradients = one_gradient(bench.train())[1]
                    broken = [name for name, g in gradients.items() if not g.isfinite().all()]
                    if broken:
                        raise Fault(f"in training, {broken[0]} is not finite ({recipe.name})")
    return f"finite at {EXTREME:g}"


def half_precision(subject: Subject) -> str:
    """With one seed, logits of half precision give the samples and the estimate of the same numbers in float32."""
    largest = 0.0
    for recipe in subject.applicable():
        for dtype in (torch.bfloat16, torch.float16):
            (samples, rounded), (others, exact) = (_rounded(subject, recipe, dtype, back=b) for b in (False, True))
            apart = max(float((one - other).abs().max()) for one, other in zip(samples, others, strict=True))
            if not apart < ROUNDING:
                raise Fault(f"logits of {dtype} change its samples by {apart:.2g} ({recipe.name})")
            off = difference(exact, rounded)
            if not off < 2 * ROUNDING:
                raise Fault(f"logits of {dtype} change its estimate by {off:.1%} ({recipe.name})")
            largest = max(largest, off)
    return f"within {largest:.2%}"


def _rounded(
    subject: Subject, recipe: Recipe, dtype: torch.dtype, *, back: bool
) -> tuple[list[Tensor], dict[str, Tensor]]:
    samples: list[Tensor] = []
    around = partial(Rounded, dtype=dtype, back=back, samples=samples)
    bench = subject.bench(recipe, torch.float32, (64,), around=around)
    samples.clear()
    return samples, seeded(subject, bench)


def saturate(bench: Estimate, pattern: tuple[int, ...], *, anew: bool = False) -> None:
    """Sets the logits to these numbers in turn, times 60, restarting at each variable or not; the encoder is off."""
    with torch.no_grad():
        for name, parameter in bench.model.named_parameters():
            if name.startswith("encoder."):
                parameter.zero_()
            if name.startswith("logits."):
                place = torch.arange(parameter.numel(), device=parameter.device)
                turn = (place % parameter.shape[-1] if anew else place) % len(pattern)
                numbers = EXTREME * torch.tensor(pattern, device=parameter.device, dtype=parameter.dtype)
                parameter.copy_(numbers[turn].reshape(parameter.shape))


CHECKS = (seed, leaks, tuning, untouched, state_dict, pickles, vmap, extremes, half_precision)
