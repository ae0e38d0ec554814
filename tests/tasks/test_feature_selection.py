import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from estbench import load_estimator, load_task
from estbench.core.program import draw, mean, run
from estbench.engine.moments.points import shifted
from estbench.testing.tasks import check_task

RULES = ["syn1", "syn2", "syn3", "syn4", "syn5", "syn6"]


def chance_of_one(rules, x):
    """P(y=1|x) = 1 / (1 + logit) with the logits of Yoon et al., written once more in numpy."""
    logits = {
        1: np.exp(x[:, 0] * x[:, 1]),
        2: np.exp((x[:, 2:6] ** 2).sum(1) - 4.0),
        3: np.exp(-10 * np.sin(0.2 * x[:, 6]) + abs(x[:, 7]) + x[:, 8] + np.exp(-x[:, 9]) - 2.4),
    }
    first, second = {"syn4": (1, 2), "syn5": (1, 3), "syn6": (2, 3)}.get(rules, (int(rules[-1]),) * 2)
    return 1 / (1 + np.where(x[:, 10] < 0, logits[first], logits[second]))


OPTIONS = ["hidden=8", "rules=syn1,features=13,hidden=8", "keep=4,hidden=8"]


@pytest.mark.parametrize("options", OPTIONS)
def test_it_is_a_task(options):
    """The data stay the same, the program broadcasts, and a gradient reaches every parameter."""
    check_task(load_task(f"feature_selection[{options}]"))


@pytest.mark.parametrize("rules", RULES)
def test_classes_have_the_chances_of_the_paper(rules):
    """In ten bins of P(y=1|x) by the paper's formula the share of ones is its mean: chi-squared at 1 in 10,000."""
    from scipy.stats import chi2

    x, y, _ = load_task("feature_selection", rules=rules).splits().train
    p = chance_of_one(rules, x.double().numpy())
    order = np.argsort(p)
    bins = np.array_split(order, 10)
    z = [(y.numpy()[b] - p[b]).sum() / np.sqrt((p[b] * (1 - p[b])).sum() + 1e-12) for b in bins]
    assert chi2.sf(np.square(z).sum(), 10) > 1e-4


@pytest.mark.parametrize("rules", RULES)
def test_only_relevant_features_decide(rules):
    """Changing a feature changes P(y=1|x) where it is marked as relevant, and nowhere else."""
    x, _, relevant = (v[:200].double().numpy() for v in load_task("feature_selection", rules=rules).splits().test)
    p = chance_of_one(rules, x)
    for feature in range(11):
        other = x.copy()
        other[:, feature] = -other[:, feature] + 0.37
        changes = abs(chance_of_one(rules, other) - p) > 1e-12
        moved = relevant[:, feature] > 0
        assert not changes[~moved].any()
        # another sign of feature 11 may lead to the same chance, but hardly ever does
        assert not moved.any() or changes[moved].mean() > 0.5


def test_precision_and_recall_are_those_of_what_is_kept():
    """Of two relevant features and one other kept, precision is the share that is relevant, recall the share found."""
    task = load_task("feature_selection[rules=syn2,hidden=8]")
    model = task.model()
    for kept, precision, recall in [([2, 3, 0], 2 / 3, 0.5), ([2, 3, 4, 5], 1.0, 1.0), ([], 1.0, 0.0), ([7], 0.0, 0.0)]:
        logits = torch.full((11,), -1.0)
        logits[kept] = 1.0
        torch.nn.init.zeros_(model.encoder[-1].weight)
        model.encoder[-1].bias.data.copy_(logits)
        found = task.metrics(model, tuple(v[:5] for v in task.splits().test))
        torch.testing.assert_close(found["precision"], torch.full((5,), precision))
        torch.testing.assert_close(found["recall"], torch.full((5,), recall))


def test_what_is_not_kept_is_not_seen():
    """With nothing kept the cost depends on the class alone, and a feature kept costs its share of the penalty."""
    torch.manual_seed(0)
    task = load_task("feature_selection[hidden=8,penalty=1.1]")
    x, y, relevant = (v[:50] for v in task.splits().test)
    program = task.model()(x, y, relevant)
    none = run(program, lambda *_: torch.zeros_like(x))[0]
    assert len(none.unique()) == 2
    model = task.model()
    for parameter in model.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    all_kept = run(model(x, y, relevant), lambda *_: torch.ones_like(x))[0]
    torch.testing.assert_close(all_kept, torch.full((50,), 1.1 + torch.tensor(2.0).log().item()))


def test_enumeration_is_the_mean_of_an_unbiased_estimator():
    """The gradient of DisARM's mean over 20,000 replicates is that of ``exact``: max|z| below 5."""
    torch.manual_seed(0)
    task = load_task("feature_selection[hidden=8]")
    batch = tuple(v[:2].double() for v in task.splits().train)
    program = task.model().double()(*batch)
    shift = torch.zeros(2, 11, dtype=torch.float64)

    def gradient(name):
        estimator = load_estimator(name)
        return lambda _=None: grad(lambda s: estimator(shifted(program, {"kept": s})))(shift)

    with torch.no_grad():
        g = vmap(gradient("disarm"), randomness="different", chunk_size=5000)(torch.empty(20_000))
        exact = gradient("exact")()
    z = (g.mean(0) - exact) / (g.std(0) / len(g) ** 0.5)
    assert z.abs().max() < 5


def trained(options, answer, steps):
    """The task and its model after training with a way to turn a program into a loss."""
    torch.manual_seed(0)
    task = load_task(f"feature_selection[{options}]")
    model, estimator = task.model(), load_estimator("rloo")
    trainer = task.trainer(model, estimator)
    minibatches = task.minibatches(task.splits().train, torch.Generator().manual_seed(0))
    for _ in range(steps):
        trainer.zero_grad()
        (answer or estimator)(model(*next(minibatches))).backward()
        trainer.step()
    return task, model


def test_the_features_of_one_rule_are_found():
    """After 500 steps precision and recall on syn2 are above 95 % and the loss is near the least there can be."""
    task, model = trained("rules=syn2", None, 500)
    test = task.splits().test
    with torch.no_grad():
        found = {name: values.mean().item() for name, values in task.metrics(model, test).items()}
        loss = run(model(*test), draw)[0].mean().item()
    p = chance_of_one("syn2", test[0].double().numpy())
    least = -(p * np.log(p) + (1 - p) * np.log1p(-p)).mean() + 0.05 * 4 / 11
    assert found["precision"] > 0.95
    assert found["recall"] > 0.95
    assert least - 0.01 < loss < least + 0.06


def test_a_deterministic_relaxation_does_worse():
    """Trained on means in place of samples, the predictor sees all features; with hard bits its loss is higher."""
    losses = []
    for answer in (None, lambda program: run(program, mean)[0].mean()):
        task, model = trained("rules=syn6,hidden=50 50", answer, 600)
        with torch.no_grad():
            losses.append(run(model(*task.splits().test), draw)[0].mean().item())
    assert losses[0] < losses[1] - 0.05


def test_wrong_options_say_what_was_received():
    """Too few features and negative penalties are refused."""
    for options in ("features=10", "penalty=-1", "batch_size=0", "hidden=a", "rules=syn7"):
        with pytest.raises(ValueError, match="got"):
            load_task(f"feature_selection[{options}]")


def test_a_subset_of_exactly_so_many_features_is_kept():
    """With ``keep=3`` every sample and the most probable selection have three features, and all 165 are enumerated."""
    torch.manual_seed(0)
    task = load_task("feature_selection[keep=3,hidden=8]")
    model, batch = task.model(), tuple(v[:50] for v in task.splits().test)
    node = run(model(*batch), draw)[1]["kept"].node
    assert (node.sample().sum(-1) == 3).all()
    assert node.cardinality == 165
    assert (model.selection(batch[0]).most_probable().sum(-1) == 3).all()
    assert load_estimator("exact")(model(*batch)) > 0


@pytest.mark.parametrize("keep", [-1, 12])
def test_a_number_of_features_that_there_is_not_is_refused(keep):
    """No subset has fewer than no features, or more than there are."""
    with pytest.raises(ValueError, match=f"from 1 to 11, or 0 for any number; got {keep}"):
        load_task("feature_selection", keep=keep)
