import os
from pathlib import Path

import pytest
import torch
from torch.distributions import Bernoulli, Normal
from torch.func import grad, vmap

from estbench import load_estimator, load_task
from estbench.core.program import draw, repeat, run
from estbench.data import datasets
from estbench.engine.moments.points import shifted
from estbench.errors import UserError
from estbench.testing.tasks import check_task

MNIST = Path(os.environ.get("ESTBENCH_DATA", "")) / "mnist"
has_mnist = pytest.mark.skipif(
    "ESTBENCH_DATA" not in os.environ or not MNIST.is_dir(), reason="ESTBENCH_DATA names no folder with MNIST"
)
SMALL = "semi_supervised[width=4,gaussians=3,batch_size=6,labelled_batch_size=5,alpha=0.7]"


def start(name=SMALL):
    """A task with a model and a minibatch, in double precision."""
    torch.manual_seed(0)
    task = load_task(name)
    model = task.model().double()
    batch = next(task.minibatches(task.splits().train, torch.Generator().manual_seed(0)))
    return task, model, tuple(x.double() if x.is_floating_point() else x for x in batch)


@pytest.mark.parametrize("options", ["", "[classes=3]", "[labels=random]"])
def test_it_is_a_task(options):
    """The data stay the same, the program broadcasts, and a gradient reaches every parameter."""
    check_task(load_task(f"semi_supervised{options}"))


def by_hand(model, x, y, noise):
    """The negative ELBO of images and their classes, one at a time, with torch's distributions."""
    costs = []
    for image, index, e in zip(x, y, noise, strict=True):
        hot = torch.zeros(model.classes, dtype=x.dtype)
        hot[index] = 1
        mean, log_scale = model.encoder["z"](image[None], hot[None])[0].chunk(2)
        q, prior = Normal(mean, log_scale.exp()), Normal(torch.zeros_like(mean), 1.0)
        z = mean + log_scale.exp() * e
        log_px = Bernoulli(logits=model.decoder(z[None], hot[None])[0]).log_prob(image).sum()
        log_py = torch.tensor(1 / model.classes, dtype=x.dtype).log()
        costs.append(q.log_prob(z).sum() - prior.log_prob(z).sum() - log_py - log_px)
    return torch.stack(costs)


def test_marginalisation_is_the_sum_over_classes():
    """``exact`` gives the objective of the paper, summed over classes one by one."""
    _, model, batch = start()
    x, _, noise, lx, ly, lnoise = batch
    log_q = model.classify(x).log_softmax(-1)
    unlabelled = sum(
        log_q[:, c].exp() * (log_q[:, c] + by_hand(model, x, [c] * len(x), noise)) for c in range(model.classes)
    )
    classified = model.classify(lx).log_softmax(-1)[torch.arange(len(ly)), ly]
    expected = unlabelled.mean() + (by_hand(model, lx, ly, lnoise) - 0.7 * classified).mean()
    torch.testing.assert_close(load_estimator("exact")(model(*batch)), expected)


def test_the_supervised_part_adds_the_same_to_every_cost():
    """A minibatch without labelled images leaves U alone, and what they add is one constant."""
    _, model, batch = start()
    value = {"y": run(model(*batch), draw)[1]["y"].value}
    costs = [run(model(*batch[:n]), lambda name, *_: value[name])[0] for n in (3, 6)]
    difference = costs[1] - costs[0]
    torch.testing.assert_close(difference, difference[:1].expand(6))
    assert difference[0] > 0


def test_marginalisation_is_the_mean_of_an_unbiased_estimator():
    """The gradient of RLOO's mean over 20,000 replicates is that of ``exact``: max|z| below 5."""
    _, model, batch = start("semi_supervised[classes=3,labelled=3,width=2,gaussians=2,batch_size=3]")
    program = model(*batch)
    shift = torch.zeros(3, 1, 3, dtype=torch.float64)

    def gradient(name):
        estimator = load_estimator(name)
        return lambda _=None: grad(lambda s: estimator(shifted(program, {"y": s})))(shift)

    with torch.no_grad():
        g = vmap(gradient("rloo"), randomness="different", chunk_size=2000)(torch.empty(20_000))
        exact = gradient("exact")()
    z = (g.mean(0) - exact) / (g.std(0) / len(g) ** 0.5)
    assert exact.abs().max() > 1e-3
    assert z.abs().max() < 5


def test_soft_classes_are_taken():
    """The cost at a mixture of two classes depends on how they are mixed, and has a derivative."""
    _, model, batch = start()
    hot = torch.eye(10, dtype=torch.float64)

    def cost(share):
        mixed = (share * hot[0] + (1 - share) * hot[1]).expand(6, 1, 10)
        return run(model(*batch), lambda *_: mixed)[0].mean()

    share = torch.tensor(0.3, dtype=torch.float64)
    torch.testing.assert_close(grad(cost)(share), (cost(share + 1e-6) - cost(share - 1e-6)) / 2e-6)


@pytest.mark.parametrize(("options", "each"), [("", 10), ("[labelled=20]", 2), ("[classes=50]", 2)])
def test_labelled_images_are_as_many_of_each_class(options, each):
    """The last images of the training split are the labelled ones, balanced; no image is lost."""
    task = load_task(f"semi_supervised{options}")
    x, y = task.splits().train
    count = torch.bincount(y[-task.labelled :], minlength=task.classes)
    assert count.tolist() == [each] * task.classes
    assert len(x) == 1197
    assert x.double().sum().item() == pytest.approx(datasets.images("digits").train[0].double().sum().item())


def test_labels_go_with_their_images():
    """A nearest neighbour among labelled images finds the class of most others; with random labels, of few."""
    found = []
    for options in ("", "[labels=random]"):
        task = load_task(f"semi_supervised{options}")
        x, y = task.splits().train
        nearest = torch.cdist(task.splits().test[0], x[-100:]).argmin(-1)
        found.append((y[-100:][nearest] == task.splits().test[1]).double().mean().item())
    assert found[0] > 0.7
    assert found[1] < 0.2


def test_training_adds_only_labelled_images():
    """What a minibatch adds for the supervised part is drawn from the labelled images, with their classes."""
    task = load_task("semi_supervised[labelled=10,labelled_batch_size=40]")
    x, y = task.splits().train
    train = ((x > 0.5).float(), y)
    batch = next(task.minibatches(train, torch.Generator().manual_seed(0)))
    known = {(*image.tolist(), label) for image, label in zip(train[0][-10:], y[-10:].tolist(), strict=True)}
    assert {(*image.tolist(), label) for image, label in zip(batch[3], batch[4].tolist(), strict=True)} <= known


def test_accuracy_rises_above_chance():
    """Three hundred steps on digits classify more than half of the test images, which are evenly of ten classes."""
    torch.manual_seed(0)
    task = load_task("semi_supervised[width=8,learning_rate=0.003,alpha=1]")
    model, splits = task.model(), task.splits()
    minibatches = task.minibatches(splits.train, torch.Generator().manual_seed(0))
    estimator = load_estimator("gumbel_softmax", temperature=0.7)
    trainer = task.trainer(model, estimator)
    first = run(model(*splits.test), draw)[0].mean()
    for _ in range(300):
        trainer.zero_grad()
        estimator(model(*next(minibatches))).backward()
        trainer.step()
    with torch.no_grad():
        assert task.metrics(model, splits.test)["accuracy"].mean() > 0.5
        assert run(model(*splits.test), draw)[0].mean() < first - 5


def test_the_bound_over_classes_is_above_the_elbo():
    """At the same Gaussian noise the 50-sample bound over y is at least the one-sample bound, on average."""
    _, model, _ = start()
    x, y, noise = (v[:100].double() if v.is_floating_point() else v[:100] for v in load_task(SMALL).splits().test)
    with torch.no_grad():
        cost = run(model(x, y, noise), repeat(draw, 50))[0]
    assert ((-cost).logsumexp(0) - torch.tensor(50.0).log() >= -cost.mean(0) - 1e-9).all()


def test_wrong_options_say_what_was_received():
    """Sizes it cannot have are refused, and data without labels."""
    for options in ("classes=1", "labelled=5", "alpha=-1", "width=0", "alpha=nan"):
        with pytest.raises(ValueError, match="got"):
            load_task(f"semi_supervised[{options}]")
    with pytest.raises(UserError, match="no labels of a data set 'cifar'"):
        datasets.labels("cifar")


@has_mnist
def test_mnist_has_labels_of_all_images():
    """Labels of MNIST are 50,000, 10,000 and 10,000, of the known counts of the test set's classes."""
    datasets.labels.cache_clear()
    labels = datasets.labels("mnist")
    assert [len(part) for part in labels] == [50_000, 10_000, 10_000]
    # counts by class as in LeCun's files
    assert torch.bincount(labels[2]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
