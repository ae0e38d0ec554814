import json

import pytest
import torch
from torch.func import grad, vmap

from estbench import load_estimator, load_task
from estbench.core.program import draw, mean, repeat, run
from estbench.data import datasets
from estbench.engine.moments.points import shifted
from estbench.plugins.registry import discover
from estbench.testing.tasks import check_task
from tests.support import ROOT, SHARED

EXACT = SHARED / "published" / "exact_values.json"
TASKS = [
    "toy",
    "toy[latents=categorical,units=2,initial_logits=0.3]",
    "sigmoid_belief_net",
    "sigmoid_belief_net[latents=categorical,units=2]",
    "sigmoid_belief_net[layers=1,units=4,binarisation=fixed]",
    "sigmoid_belief_net[layers=3,units=2,signed=true]",
    "sigmoid_belief_net[units=2,hidden=5 4,prior=fixed,binarisation=threshold]",
    "vae[units=3]",
    "vae[latents=categorical,units=2,classes=3,hidden=30 20,prior=fixed,kl=analytic]",
    "vae[units=3,binarisation=none,hidden=20,activation=relu,centre=false]",
    "structured_prediction[units=3]",
    "structured_prediction[units=2,layers=3]",
    "structured_prediction[latents=categorical,units=2,classes=3,binarisation=dynamic]",
]


def start(name):
    """A task with a model and a minibatch of four examples."""
    torch.manual_seed(0)
    task = load_task(name)
    task.batch_size = 4
    model = task.model()
    return task, model, next(task.minibatches(task.splits().train, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", sorted(discover("task").plugins))
def test_every_task_keeps_what_a_task_promises(name):
    """Each built-in task, at its defaults, passes the public check, and docs/reference/tasks.md lists it."""
    check_task(load_task(name))
    assert f"| `{name}` |" in (ROOT / "docs" / "reference" / "tasks.md").read_text()


@pytest.mark.parametrize("name", TASKS)
def test_costs_broadcast_over_samples(name):
    """Every program returns one cost per example, for one sample and for several."""
    _, model, batch = start(name)
    cost, _ = run(model(*batch), draw)
    many, _ = run(model(*batch), repeat(draw, 3))
    assert cost.shape == (len(batch[0]),)
    assert many.shape == (3, len(batch[0]))


@pytest.mark.parametrize("name", TASKS)
def test_samples_of_several_estimate_the_enumerated_cost(name):
    """The mean cost of 4,000 samples is within 5 standard errors of the enumerated one."""
    _, model, batch = start(name)
    with torch.no_grad():
        exact = load_estimator("exact")(model(*batch)).item()
        cost = run(model(*batch), repeat(draw, 4000))[0].mean(1)
    assert abs(cost.mean().item() - exact) <= 5 * cost.std().item() / 4000**0.5 + 1e-6


@pytest.mark.parametrize(("options", "fed"), [("", lambda z: z), (",signed=true", lambda z: 2 * z - 1)])
def test_the_cost_of_a_belief_net_is_that_of_its_distributions(options, fed):
    """A net of three layers has the negative ELBO that torch's distributions give it."""
    _, model, (x,) = start(f"sigmoid_belief_net[layers=3,hidden=6,units=4{options}]")
    cost, sites = run(model(x), draw)
    torch.nn.init.normal_(model.prior[0])
    cost, _ = run(model(x), lambda name, *_: sites[name].value)
    z = [sites[name].value for name in ("z1", "z2", "z3")]

    def log_p(network, below, value):
        return torch.distributions.Bernoulli(logits=network(below)).log_prob(value).sum(-1)

    inputs = [x - datasets.images("digits").train[0].mean(0), *map(fed, z)]
    log_q = sum(log_p(model.encoder[k].network, inputs[k], z[k]) for k in range(3))
    joint = sum(log_p(model.decoder[k].network, fed(z[k]), [x, *z][k]) for k in range(3))
    top = torch.distributions.Bernoulli(logits=model.prior[0]).log_prob(z[2]).sum(-1)
    torch.testing.assert_close(cost, log_q - joint - top)


@pytest.mark.parametrize(("layers", "weights"), [(1, 200 * 64), (2, 200 * 264), (3, 200 * 464)])
def test_the_nets_of_muprop_have_their_sizes(layers, weights):
    """With 200 units the nets are 200-D, 200-200-D and 200-200-200-D on images of D pixels, encoder and decoder."""
    model = load_task(f"sigmoid_belief_net[layers={layers},units=200]").model()
    count = {name: sum(p.numel() for p in part.parameters() if p.ndim == 2) for name, part in model.named_children()}
    assert count == {"encoder": weights, "decoder": weights, "prior": 0}


@pytest.mark.parametrize("name", TASKS)
def test_minibatches_are_set_by_their_generator(name):
    """The same generator gives the same minibatches, and the next minibatch is another."""
    task = load_task(name)
    train = task.splits().train
    first, again = (task.minibatches(train, torch.Generator().manual_seed(3)) for _ in range(2))
    batch = next(first)
    assert torch.equal(batch[0], next(again)[0])
    assert name.startswith("toy") or not torch.equal(batch[0], next(first)[0])


@pytest.mark.parametrize("name", TASKS[:2])
def test_the_closed_form_of_the_toy_is_the_enumerated_one(name):
    """Cost and gradient at the means equal those by enumeration."""
    task, model, batch = start(name)
    exact = load_estimator("exact")
    program, closed = model(*batch), task.closed_form(model, batch)
    zeros = {key: torch.zeros_like(site.node.logits) for key, site in run(program, draw)[1].items()}
    expected = grad(lambda s: exact(shifted(program, s)))(zeros)
    found = grad(lambda s: run(shifted(closed, s), mean)[0].mean())(zeros)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(run(closed, mean)[0].mean(), exact(program))


@pytest.mark.skipif(not EXACT.is_file(), reason="no published values here")
@pytest.mark.parametrize("target", ["0.45", "0.49", "0.499"])
def test_the_scalar_toy_has_its_published_gradient_and_variances(target):
    """Gradient and variances of REINFORCE, RLOO, ARM and DisARM are the exact ones (5 standard errors)."""
    expected = json.loads(EXACT.read_text())[f"scalar_t{target}"]
    torch.manual_seed(0)
    model = load_task("toy", target=float(target)).model().double()
    x = torch.zeros(1, 0, dtype=torch.float64)
    (slope,) = torch.autograd.grad(load_estimator("exact")(model(x)), model.parameters())
    assert slope.item() == pytest.approx(expected["true_grad"], rel=1e-9)
    for name, key in [
        ("reinforce", "reinforce_var"),
        ("rloo", "rloo2_var"),
        ("arm", "arm_var"),
        ("disarm", "disarm_var"),
    ]:
        estimator = load_estimator(name).eval()

        def gradient(_, estimator=estimator):
            return grad(lambda s: estimator(shifted(model(x), {"b": s})))(torch.zeros(1, 1, dtype=torch.float64))

        with torch.no_grad():
            g = vmap(gradient, randomness="different")(torch.empty(100_000)).flatten()
        error = (g - g.mean()).square().std().item() / len(g) ** 0.5
        assert abs(g.var().item() - expected[key]) <= 5 * error + 1e-15


def test_wrong_options_say_what_was_received():
    """A task refuses sizes it cannot have."""
    for name in (
        "toy[units=0]",
        "sigmoid_belief_net[layers=0]",
        "vae[classes=1]",
        "structured_prediction[batch_size=0]",
        "vae[dataset=cifar]",
    ):
        with pytest.raises(ValueError, match="got"):
            load_task(name)
