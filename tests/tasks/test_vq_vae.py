import itertools

import pytest
import torch

from estbench import load_estimator, load_task
from estbench.tasks.vq_vae import rotated
from estbench.testing.tasks import check_task

SMALL = "vq_vae[codes=3,dimensions=2,hidden=8]"


def start(spec):
    """A model in float64 and four images."""
    torch.manual_seed(0)
    task = load_task(spec)
    return task, task.model().double(), task.splits().train[0][:4].double()


def objective_by_hand(model, x, beta, temperature):
    """The mean expected cost as a sum over all pairs of codes, from the networks' outputs."""
    z, e = model.encoder(x).reshape(len(x), 2, -1), model.codebook.vectors
    q = (-((z[:, :, None] - e) ** 2).sum(-1) / temperature).softmax(-1)
    total = beta * (q * (q * len(e)).log()).sum((1, 2))
    for i, j in itertools.product(range(len(e)), repeat=2):
        logits = model.decoder(torch.cat([e[i], e[j]]))
        log_p = -torch.nn.functional.binary_cross_entropy_with_logits(logits.expand_as(x), x, reduction="none").sum(-1)
        total = total - q[:, 0, i] * q[:, 1, j] * log_p
    return total.mean()


@pytest.mark.parametrize("quantisation", ["stochastic", "straight_through", "rotation"])
def test_it_is_a_task(quantisation):
    """The data stay the same, the program broadcasts, and a gradient reaches every parameter."""
    check_task(load_task(SMALL, quantisation=quantisation))


@pytest.mark.parametrize(("beta", "temperature"), [(0.0, 1.0), (0.7, 2.0)])
def test_enumeration_is_the_sum_over_codes_by_hand(beta, temperature):
    """The value of ``exact`` and its gradients of encoder, codebook and decoder are those of the sum over all codes."""
    _, model, x = start(f"vq_vae[codes=3,dimensions=2,hidden=8,{beta=},{temperature=}]")
    weights = list(model.parameters())
    ours, hand = load_estimator("exact")(model(x)), objective_by_hand(model, x, beta, temperature)
    torch.testing.assert_close(ours, hand)
    found = zip(torch.autograd.grad(ours, weights), torch.autograd.grad(hand, weights), strict=True)
    for one, other in found:
        torch.testing.assert_close(one, other)
    assert all(each.abs().max() > 0 for each in torch.autograd.grad(load_estimator("exact")(model(x)), weights))


@pytest.mark.parametrize("quantisation", ["straight_through", "rotation"])
def test_nearest_codes_are_certain(quantisation):
    """Estimators have one value and one gradient: the code's at the encoder's output, copied or turned."""
    _, model, x = start(f"vq_vae[codes=3,dimensions=2,hidden=8,{quantisation=}]")
    weights = list(model.parameters())
    costs = [load_estimator(name)(model(x)) for name in ("reinforce", "rloo[samples=3]", "straight_through")]
    slopes = [torch.autograd.grad(cost, weights) for cost in costs]
    for cost, each in zip(costs[1:], slopes[1:], strict=True):
        torch.testing.assert_close(cost, costs[0])
        torch.testing.assert_close(each, slopes[0])
    z = model.encoder(x).reshape(4, 2, 2)
    nearest = (z[:, :, None] - model.codebook.vectors).square().sum(-1).argmin(-1)
    code = model.codebook.vectors[nearest].detach().requires_grad_()
    likely = model.reconstruction(code, x)
    (slope,) = torch.autograd.grad(likely.sum(), code)
    if quantisation == "rotation":
        (slope,) = torch.autograd.grad(rotated(z, code.detach()), z, slope, retain_graph=True)
    distance = (z - code).square().sum((1, 2))
    torch.testing.assert_close(costs[0], (likely + 1.25 * distance).mean())
    expected = torch.autograd.grad(z, model.encoder[0].weight, (slope + 0.5 * (z - code).detach()) / 4)[0]
    torch.testing.assert_close(slopes[0][0], expected)


def test_the_rotation_is_one():
    """Its values are the codes; its Jacobian is a rotation times the ratio of the lengths, for each vector."""
    torch.manual_seed(0)
    z, codes = torch.randn(6, 4).double(), torch.randn(6, 4).double()
    torch.testing.assert_close(rotated(z, codes), codes)
    for one, code in zip(z, codes, strict=True):
        jacobian = torch.func.jacrev(lambda v, code=code: rotated(v, code))(one) * one.norm() / code.norm()
        torch.testing.assert_close(jacobian @ jacobian.T, torch.eye(4).double())
        assert torch.linalg.det(jacobian).item() == pytest.approx(1)


def test_perplexity_counts_codes():
    """It is 1 if all vectors are far from all codes but one, and never above the number of codes."""
    task, model, x = start(SMALL)
    with torch.no_grad():
        found = task.metrics(model, (x,))
        assert 1 <= found["code_perplexity"][0] <= 3
        model.codebook.vectors[1:] += 1000
        assert task.metrics(model, (x,))["code_perplexity"].tolist() == [1.0] * 4


@pytest.mark.parametrize("quantisation", ["stochastic", "straight_through", "rotation"])
def test_training_improves_reconstruction(quantisation):
    """200 steps, of RLOO where codes are drawn, lower the cost of reconstruction by more than 2 nats of about 25."""
    torch.manual_seed(0)
    task = load_task("vq_vae[learning_rate=0.003]", quantisation=quantisation)
    model, batches = task.model(), task.minibatches(task.splits().train, torch.Generator().manual_seed(0))
    estimator = load_estimator("rloo[samples=4]" if quantisation == "stochastic" else "reinforce")
    trainer, valid = task.trainer(model, estimator.prepare(model(*next(batches)))), task.splits().valid
    with torch.no_grad():
        before = task.metrics(model, valid)["error_reconstruction"].mean()
    for _, batch in zip(range(200), batches, strict=False):
        trainer.zero_grad()
        estimator(model(*batch)).backward()
        trainer.step()
    with torch.no_grad():
        assert task.metrics(model, valid)["error_reconstruction"].mean() < before - 2


@pytest.mark.parametrize("option", ["units=0", "codes=1", "dimensions=0", "temperature=0.0", "beta=-1.0"])
def test_sizes_that_cannot_be_are_refused(option):
    """The message says what was received."""
    with pytest.raises(ValueError, match=option):
        load_task(f"vq_vae[{option}]")
