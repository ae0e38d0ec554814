import base64
import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from estbench import load_task, report
from estbench.engine.base import Bench, MeasurementError
from estbench.engine.profiling.png import png
from estbench.measures import training
from estbench.plugins.registry import load_estimator
from estbench.report.illustrations import ILLUSTRATIONS
from estbench.store.records import COLUMNS
from tests.support.report_results import results

TASKS = {
    "vae[units=5]": {"random codes, decoded": 2, "originals above, reconstructions below": 2},
    "vae[latents=categorical,units=3,classes=4,hidden=10,binarisation=none]": {
        "random codes, decoded": 2,
        "originals above, reconstructions below": 2,
    },
    "structured_prediction[units=5]": {"original, four completions, mean of 100": 6},
    "structured_prediction[latents=categorical,units=3,classes=4,layers=1]": {
        "original, four completions, mean of 100": 6
    },
    "sigmoid_belief_net": {"random codes, decoded": 2, "originals above, reconstructions below": 2},
    "sigmoid_belief_net[layers=3,latents=categorical,units=2,signed=true]": {
        "random codes, decoded": 2,
        "originals above, reconstructions below": 2,
    },
    "semi_supervised[width=4]": {
        "one random code a column, one class a row": 10,
        "originals above, reconstructions below": 2,
    },
    "semi_supervised[width=4,classes=3]": {
        "one random code a column, one class a row": 3,
        "originals above, reconstructions below": 2,
    },
    "toy": {},
}


def decoded(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"))


@pytest.mark.parametrize("name", TASKS)
def test_tasks_make_pictures(name):
    """Grids of square images with values in [0, 1], a column for each example; the toy makes none."""
    torch.manual_seed(0)
    task = load_task(name)
    batch = tuple(x[:4] for x in task.splits().test)
    pictures = task.pictures(task.model(), batch)
    assert {title: images.shape for title, images in pictures.items()} == {
        title: (rows, 4, 8, 8) for title, rows in TASKS[name].items()
    }
    assert all(images.min() >= 0 and images.max() <= 1 for images in pictures.values())


def test_completions_keep_the_upper_half():
    """Each row has the original's upper half; lower halves are draws, and the last row is their mean."""
    torch.manual_seed(0)
    task = load_task("structured_prediction[units=5]")
    batch = tuple(x[:4] for x in task.splits().test)
    (images,) = task.pictures(task.model(), batch).values()
    original = batch[0].unflatten(-1, (8, 8))
    assert torch.equal(images[0], original)
    assert torch.equal(images[:, :, :4], original[:, :4].expand(6, 4, 4, 8))
    assert not torch.equal(images[1, :, 4:], images[2, :, 4:])
    far = (images[1:5, :, 4:] - original[:, 4:]).square().mean()
    assert (images[5, :, 4:] - original[:, 4:]).square().mean() < far


def test_a_trained_vae_reconstructs_its_originals():
    """Reconstructions come nearer to their own originals than to other ones, which they are not before training."""
    torch.manual_seed(0)
    task = load_task("vae[optimizer=adam,learning_rate=0.01]")
    model, estimator = task.model(), load_estimator("gumbel_softmax")
    batch = tuple(x[:50] for x in task.splits().test)

    def ratio():
        originals, reconstructions = task.pictures(model, batch)["originals above, reconstructions below"]
        own, other = ((originals.roll(by, 0) - reconstructions).square().mean().item() for by in (0, 1))
        return own / other

    assert ratio() > 0.95
    trainer = task.trainer(model, estimator)
    minibatches = task.minibatches(task.splits().train, torch.Generator().manual_seed(0))
    for _ in range(150):
        trainer.zero_grad()
        estimator(model(*next(minibatches))).backward()
        trainer.step()
    assert ratio() < 0.75


def test_training_measures_pictures_at_the_end():
    """Their number of columns is an option, none if it is 0, and other figures do not depend on them."""
    task = load_task("vae[units=3]")
    make = {"exact": lambda: load_estimator("reinforce")}
    rows = {}
    for count in (0, 3):
        bench = Bench(task, 0, torch.device("cpu"), torch.float32, make["exact"], None)
        measure = training.Training(steps=2, evaluations=1, samples=2, pictures=count)
        rows[count] = [row for _, row in measure.rows(bench, make)]
    pictures = [row for row in rows[3] if row.picture]
    assert [row.metric for row in pictures] == [f"picture/{title}" for title in TASKS["vae[units=5]"]]
    assert {(row.n, row.step) for row in pictures} == {(3, 2)}
    assert decoded(pictures[0].picture).shape == (2 * 9 - 1, 3 * 9 - 1)
    plain = [(row.metric, row.value) for row in rows[3] if not row.picture]
    assert plain == [(row.metric, row.value) for row in rows[0]]


def test_a_picture_is_what_was_given():
    """Dark on light, images in their places with a line between them, to a sixteenth of grey."""
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    pixels = decoded(png(images))
    assert pixels.shape == (2 * 5 - 1, 3 * 6 - 1)
    for row in range(2):
        for column in range(3):
            shown = 1 - pixels[5 * row : 5 * row + 4, 6 * column : 6 * column + 5] / 255
            assert shown == pytest.approx(images[row, column].numpy(), abs=0.5 / 15 + 1e-6)
    assert (pixels[4] == 255).all()


@pytest.mark.parametrize(
    ("images", "received"),
    [
        (torch.zeros(2, 3, 4), r"shape \(2, 3, 4\)"),
        (torch.full((1, 1, 2, 2), 1.5), "values from 1.5 to 1.5"),
        (torch.full((1, 1, 2, 2), torch.nan), "values from nan to nan"),
    ],
)
def test_what_is_no_picture_is_refused(images, received):
    """The message says what a picture is and what was received."""
    wanted = r"a picture takes finite values from 0 to 1 of shape \(rows, columns, height, width\); got "
    with pytest.raises(MeasurementError, match=wanted + received):
        png(images)


def with_pictures(rows, kinds=("codes",)):
    """Results with pictures of the kinds for each estimator that was trained on the last task, in two seeds."""
    trained = rows[(rows["measure"] == "training") & (rows["task"] == rows["task"].iloc[-1]) & (rows["status"] == "ok")]
    some = trained.drop_duplicates(["estimator", "params", "seed"])
    pictures = [png(torch.full((2, 3, 8, 8), 0.2 * (1 + i))) for i in range(3)]
    extra = [
        some.assign(metric=f"picture/{kind}", value=np.nan, low=np.nan, high=np.nan, picture=[
            pictures[int(seed)] for seed in some["seed"]
        ])
        for kind in kinds
    ]  # fmt: skip
    return pd.concat([rows.assign(picture=""), *extra], ignore_index=True)


def test_pictures_are_in_the_report(svg_only, tmp_path):
    """Once an estimator and kind, those of the first seed, inside the page's file."""
    rows = results(3, tasks=("toy",))
    rows = with_pictures(rows[rows["measure"] == "training"], ("codes", "reconstructions"))
    page = report.write(rows, {}, tmp_path).read_text(encoding="utf-8")
    assert page.count("<image ") == 6
    assert page.count("data:image/png;base64,") == 6
    assert list((tmp_path / "figures").glob("pictures-*.svg"))


@pytest.mark.parametrize("picture", ["no base64!", "aGVsbG8=", base64.b64encode(b"\x89PNG" + bytes(60)).decode()])
def test_what_is_no_png_is_left_out(picture, tmp_path):
    """A store's text that is no picture draws nothing and breaks nothing."""
    rows = with_pictures(results(2))
    rows.loc[rows["picture"] != "", "picture"] = picture
    with pytest.raises(ValueError, match="nothing that a figure of kind 'pictures' shows"):
        report.plot("pictures", rows, tmp_path)


def test_results_without_pictures_are_read():
    """Results of earlier versions have no such column."""
    assert "picture" in COLUMNS
    assert len(report.summary(results(2).drop(columns="picture"))) == 6


def test_gumbel_softmax_tends_to_the_categorical_distribution(tmp_path):
    """At a low temperature samples are one-hot with the class probabilities; at a high one they are uniform."""
    figure = ILLUSTRATIONS["gumbel_softmax"]
    cold, hot = figure.samples(0.01, 50_000), figure.samples(1000.0, 50_000)
    assert cold.mean(0) == pytest.approx(figure.probabilities, abs=0.01)
    assert np.quantile(cold.max(1), 0.1) > 0.99
    assert hot == pytest.approx(np.full_like(hot, 0.2), abs=0.01)
    files = report.illustrate("gumbel_softmax", tmp_path, formats=("svg", "png"))
    assert [file.name for file in files] == ["gumbel_softmax.svg", "gumbel_softmax.png"]


def test_a_figure_of_a_run_needs_one(tmp_path):
    """The message says which figures need none."""
    with pytest.raises(ValueError, match="figures that need no run are gumbel_softmax; got 'variance'"):
        report.illustrate("variance", tmp_path)
