"""Models with state or randomness of their own: every run at a point is the same but for the samples."""

import functools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from estbench import Bernoulli, Splits, Task, load_estimator
from estbench.engine.base import Bench
from estbench.engine.moments.model_noise import CannotHoldError
from estbench.engine.moments.points import Point
from estbench.engine.moments.variables import Groups
from estbench.measures.gradient import Gradient
from tests.support.sweeps import sweep

HIDDEN = 6


class Autoencoder(Task):
    """Three bits, with an encoder and a decoder that a test chooses."""

    objective, baseline, oracle, batch_size = "elbo", "rloo", "exact", 5

    def __init__(self, encoder=None, decoder=None):
        self.encoder, self.decoder = encoder, decoder

    def model(self):
        encoder = self.encoder() if self.encoder else nn.Linear(4, 3)
        return Model(encoder, self.decoder() if self.decoder else nn.Linear(3, 4))

    def splits(self):
        generator = torch.Generator().manual_seed(0)
        return Splits(*(((torch.rand(n, 4, generator=generator) < 0.4).float(),) for n in (30, 5, 5)))


class Model(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x):
        q, prior = Bernoulli(self.encoder(x)), Bernoulli(torch.zeros(3))

        def program(sample):
            z, log_q = sample("z", q)
            return log_q - prior.log_prob(z) - Bernoulli(self.decoder(z)).log_prob(x)

        return program


class Calls(nn.Module):
    """Two linear layers with a function of the module and the hidden units in between."""

    def __init__(self, function, inputs, outputs):
        super().__init__()
        self.first, self.last, self.function = nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, outputs), function
        self.register_buffer("average", torch.ones(HIDDEN))
        self.register_buffer("count", torch.ones((), dtype=torch.long))
        self.calls, self.seen, self.generator = 1, [], np.random.default_rng(0)

    def forward(self, x):
        return self.last(self.function(self, self.first(x).tanh()))


class Between(nn.Module):
    """Two linear layers with a layer in between."""

    def __init__(self, layer, inputs, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, HIDDEN), layer, nn.Linear(HIDDEN, outputs))

    def forward(self, x):
        return self.layers(x)


class OverRows(nn.Module):
    """A layer for matrices, over the rows of all samples and examples."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.flatten(0, -2)).view_as(x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = nn.LSTM(1, HIDDEN, num_layers=2, dropout=0.4, batch_first=True)
        self.last = nn.Linear(HIDDEN, 3)

    def forward(self, x):
        return self.last(self.cells(x[..., None])[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(1, 4), nn.Linear(4, 3)
        self.layer = nn.TransformerEncoderLayer(4, 2, 4, dropout=0.4, batch_first=True)

    def forward(self, x):
        return self.last(self.layer(self.first(x[..., None])).mean(1))


class Checkpointed(nn.Module):
    def __init__(self, reentrant, inputs=4, outputs=3):
        super().__init__()
        self.first, self.reentrant = nn.Linear(inputs, HIDDEN), reentrant
        self.block = nn.Sequential(nn.Tanh(), nn.Dropout(0.4), nn.Linear(HIDDEN, outputs))

    def forward(self, x):
        return checkpoint(self.block, self.first(x), use_reentrant=self.reentrant)


def counts(module, h):
    """State of every kind: buffers in place and replaced, a number, a list, a generator."""
    module.count += 1
    module.calls += 1
    module.seen.append(module.calls)
    module.average.mul_(0.5).add_(h.detach().flatten(0, -2)[0] / 2)
    module.average = module.average + 1
    return h * module.average * len(module.seen) / module.count * (1 + module.generator.random())


def doubled(h):
    return _Doubled.apply(h)


class _Doubled(torch.autograd.Function):
    """Of the old form, which torch.func cannot map."""

    @staticmethod
    def forward(_ctx, h):
        return 2 * h

    @staticmethod
    def backward(_ctx, gradient):
        return 2 * gradient


ENCODERS = {
    "dropout": lambda h, m: F.dropout(h, 0.4, training=m.training),
    "dropout in place": lambda h, m: F.dropout(h.clone(), 0.4, training=m.training, inplace=True),
    "dropout2d": lambda h, _: F.dropout2d(h[..., None, None], 0.4)[..., 0, 0],
    "alpha dropout": lambda h, _: F.alpha_dropout(h, 0.4, training=True),
    "bernoulli": lambda h, _: h * torch.bernoulli(h.sigmoid()),
    "bernoulli in place": lambda h, _: h * torch.empty(HIDDEN).bernoulli_(0.5),
    "rand": lambda h, _: h * torch.rand(HIDDEN),
    "randn_like": lambda h, _: h + torch.randn_like(h),
    "multinomial": lambda h, _: h[:, torch.multinomial(torch.ones(HIDDEN), HIDDEN)],
    "numpy": lambda h, _: h * float(np.random.rand()),  # noqa: NPY002  (what a model may draw from)
    "python": lambda h, _: h * random.random(),
    "state": lambda h, m: counts(m, h),
    "data": lambda h, m: h * m.average.data.mul_(0.5),
    "old function": lambda h, _: doubled(h),
    "value": lambda h, _: h * (1 + (h.sum() > 0).item()),
}
LAYERS = {
    "batch norm": lambda: nn.BatchNorm1d(HIDDEN),
    "batch norm without parameters": lambda: nn.BatchNorm1d(HIDDEN, affine=False),
    "layer norm": lambda: nn.LayerNorm(HIDDEN),
    "group norm": lambda: nn.GroupNorm(2, HIDDEN),
    "instance norm": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.InstanceNorm1d(2, affine=True, track_running_stats=True), nn.Flatten()
    ),
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(HIDDEN, HIDDEN)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(HIDDEN, HIDDEN)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(HIDDEN, HIDDEN)),
    "spectral norm by a hook": lambda: nn.utils.spectral_norm(nn.Linear(HIDDEN, HIDDEN)),
    "lazy": lambda: nn.LazyLinear(HIDDEN),
    "frozen": lambda: nn.Linear(HIDDEN, HIDDEN).requires_grad_(False),
}
INSIDE = {
    "dropout": lambda h, _: F.dropout(h, 0.4),
    "dropout of flattened samples": lambda h, _: F.dropout(h.reshape(-1, HIDDEN), 0.4).reshape(h.shape),
    "randn": lambda h, _: h + torch.randn(h.shape),
    "bernoulli": lambda h, _: h * torch.bernoulli(h.sigmoid()),
}
CASES = {
    **{f"encoder, {name}": Autoencoder(lambda f=f: Calls(lambda m, h: f(h, m), 4, 3)) for name, f in ENCODERS.items()},
    **{f"encoder, {name}": Autoencoder(lambda make=make: Between(make(), 4, 3)) for name, make in LAYERS.items()},
    **{
        f"decoder, {name}": Autoencoder(None, lambda f=f: Calls(lambda m, h: f(h, m), 3, 4))
        for name, f in INSIDE.items()
    },
    "decoder, spectral norm": Autoencoder(None, lambda: parametrizations.spectral_norm(nn.Linear(3, 4))),
    "decoder, layer norm": Autoencoder(None, lambda: Between(nn.LayerNorm(HIDDEN), 3, 4)),
    "decoder, batch norm": Autoencoder(None, lambda: Between(OverRows(nn.BatchNorm1d(HIDDEN)), 3, 4)),
    "encoder, LSTM": Autoencoder(Recurrent),
    "encoder, attention": Autoencoder(Attention),
    "encoder, checkpointed": Autoencoder(lambda: Checkpointed(reentrant=False)),
    "encoder, checkpointed and re-entrant": Autoencoder(lambda: Checkpointed(reentrant=True)),
}
# one for each way in which a model may draw, keep or change something
CHOSEN = (
    "encoder, dropout", "encoder, dropout in place", "encoder, multinomial", "encoder, numpy", "encoder, state",
    "encoder, old function", "encoder, value", "encoder, batch norm", "encoder, spectral norm", "encoder, frozen",
    "decoder, dropout of flattened samples", "decoder, bernoulli", "decoder, spectral norm", "decoder, batch norm",
    "encoder, attention", "encoder, checkpointed and re-entrant",
)  # fmt: skip


def bench(task):
    return Bench(
        task,
        0,
        torch.device("cpu"),
        torch.float32,
        functools.partial(load_estimator, task.baseline),
        lambda m: load_estimator(task.oracle, samples=m),
    )


def measured(task, name, **options):
    made = {name: functools.partial(load_estimator, name)}
    measure = Gradient(**{"replicates": 128, "after": 0, "groups": "all", **options})
    return {row.metric: row for _, row in measure.rows(bench(task), made)}


@pytest.mark.parametrize("name", sweep(CASES, CHOSEN))
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")
def test_an_exact_estimator_is_exact(name):
    """What has no noise has no variance and no bias, in all groups, whatever the model draws and keeps itself."""
    found = measured(CASES[name], "exact", replicates=64)
    groups = [metric.partition("/")[2] for metric in found if metric.startswith("variance/")]
    assert "logits" in groups
    for group in groups:
        assert found[f"variance/{group}"].value == pytest.approx(0, abs=1e-9)
        assert found[f"relative_bias/{group}"].value == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", sweep(CASES, CHOSEN))
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")
def test_a_model_is_as_it_was(name):
    """Running a model at a point changes no parameter, buffer, attribute or generator, and no shared generator."""
    where = bench(CASES[name])
    model = where.model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    plain = [{k: repr(v) for k, v in vars(m).items() if not k.startswith("_")} for m in model.modules()]
    shared = random.getstate(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    point = Point(0, model, next(where.minibatches()), seed=3)
    load_estimator("rloo")(point.program()).backward()
    point.nodes()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert plain == [{k: repr(v) for k, v in vars(m).items() if not k.startswith("_")} for m in model.modules()]
    assert shared == (random.getstate(), np.random.get_state()[1].tobytes())  # noqa: NPY002


def gradients(task, estimator, seed, mapped, generator):
    where = bench(task)
    point = Point(0, where.model(), next(where.minibatches()), seed=seed)
    variables = Groups.of("parameters").parameters(where, point)
    gradient = variables.gradient(estimator, point.program, mapped=mapped)
    torch.manual_seed(generator)
    return torch.cat([x.flatten() for x in gradient().values()]).detach()


@pytest.mark.parametrize("name", ["encoder, dropout", "decoder, dropout", "decoder, bernoulli", "encoder, numpy"])
def test_both_ways_to_a_gradient_see_one_draw(name):
    """With one seed torch.func and autograd give the same gradient, of several samples too; another seed another."""
    task, exact = CASES[name], load_estimator("exact")
    here = gradients(task, exact, 3, mapped=True, generator=0)
    torch.testing.assert_close(here, gradients(task, exact, 3, mapped=False, generator=5), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(here, gradients(task, exact, 4, mapped=True, generator=0), rtol=1e-2)


def test_a_mask_is_the_same_for_all_samples():
    """Inside a program, each of several samples that are evaluated at once meets the mask that one alone meets."""
    where = bench(CASES["decoder, dropout"])
    point = Point(0, where.model(), next(where.minibatches()), seed=3)
    program, values = point.program(), torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])

    def costs(value):
        return program(lambda _name, node: (value, node.log_prob(value)))

    both = costs(values[:, None, :].expand(2, 5, 3))
    for value, cost in zip(values, both, strict=True):
        torch.testing.assert_close(cost, costs(value.expand(5, 3)))


@pytest.mark.parametrize("name", ["encoder, dropout", "encoder, batch norm", "encoder, checkpointed"])
def test_unbiased_estimators_are_not_called_biased(name):
    """RLOO's bias is not told from none, in all groups (false alarms: 1 in 1,000 each)."""
    found = measured(CASES[name], "rloo", replicates=256)
    assert all(row.value > 1e-3 for metric, row in found.items() if metric.startswith("unbiased_p/"))


def test_numbers_of_a_model_may_be_part_of_the_variance():
    """Drawn anew, masks make the variance of what has none itself, and its reference is a mean over them."""
    held, drawn = (
        measured(CASES["encoder, dropout"], "exact", model_noise=how, replicates=256, reference_replicates=256)
        for how in ("held", "drawn")
    )
    assert held["variance/encoder"].value == pytest.approx(0, abs=1e-9)
    assert drawn["variance/encoder"].value > 1e-4
    assert drawn["unbiased_p/encoder"].value > 1e-3


UNHOLDABLE = {
    "numpy": (lambda h: h * float(np.random.rand()), "NumPy or Python"),  # noqa: NPY002
    "multinomial": (lambda h: h[..., torch.multinomial(torch.ones(HIDDEN), HIDDEN)], "multinomial"),
    "batch norm": (
        lambda h: (
            F.batch_norm(h.reshape(-1, HIDDEN), None, None, training=True).reshape(h.shape) + 0 * torch.rand(HIDDEN)
        ),
        "join several samples",
    ),
}


@pytest.mark.parametrize("name", UNHOLDABLE)
def test_what_cannot_be_held_is_said(name):
    """Where no gradient is defined at a point, one line says why."""
    function, reason = UNHOLDABLE[name]
    task = Autoencoder(None, lambda: Calls(lambda _, h: function(h), 3, 4))
    with pytest.raises(CannotHoldError, match=reason) as raised:
        measured(task, "rloo")
    assert "\n" not in str(raised.value)


def test_a_batch_norm_in_a_program_uses_running_statistics():
    """The exact gradient is that of the same model with this layer in evaluation mode; one line says so."""
    where = bench(CASES["decoder, batch norm"])
    model, batch = where.model(), next(where.minibatches())
    norm = model.decoder.layers[1].layer
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    point, exact = Point(0, model, batch), load_estimator("exact")
    variables = Groups.of("parameters").parameters(where, point)
    found = variables.gradient(exact, point.program)()
    assert norm.training
    norm.eval()
    value = exact(model(*batch))
    by_hand = torch.autograd.grad(value, list(model.parameters()))
    parts = [found[part].flatten() for part in variables.parts]
    torch.testing.assert_close(torch.cat(parts).detach(), torch.cat([g.flatten() for g in by_hand]))
    notes = [measured(CASES[f"{side}, batch norm"], "rloo").get("note") for side in ("encoder", "decoder")]
    assert notes[0] is None
    assert "batch norms in the program use their running statistics" in notes[1].error


def test_a_generator_out_of_reach_is_said():
    """A model that draws from a generator that no module holds has another cost in every run."""
    generator = np.random.default_rng(0)
    task = Autoencoder(lambda: Calls(lambda _, h: h * generator.random(), 4, 3))
    with pytest.raises(CannotHoldError, match="out of reach"):
        measured(task, "rloo")


def test_minibatches_bring_their_masks():
    """Over minibatches the part of sampling of what has no noise is 0, and that of minibatches has the masks in it."""
    found = measured(CASES["encoder, dropout"], "exact", groups="encoder", replicates=64, minibatches=64)
    assert found["sampling_variance/encoder"].value == pytest.approx(0, abs=1e-9)
    assert found["minibatch_variance/encoder"].value > 1e-4
