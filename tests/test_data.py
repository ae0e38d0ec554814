import gzip
from pathlib import Path

import pytest
import torch

from estbench import data
from estbench.spec import UserError

SHARED = Path(__file__).parents[2] / "shared" / "data"
has_mnist = pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="no local copy of MNIST here")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    data.images.cache_clear()
    data.binarised.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ESTBENCH_DATA", raising=False)
    yield
    data.images.cache_clear()
    data.binarised.cache_clear()


def test_digits_are_split_without_overlap():
    """The bundled digits are 1,197, 300 and 300 images of 64 grey levels in [0, 1], none of them lost."""
    splits = data.images("digits")
    assert [x.shape for (x,) in splits] == [(1197, 64), (300, 64), (300, 64)]
    together = torch.cat([x for (x,) in splits])
    assert together.min() == 0
    assert together.max() == 1
    from sklearn.datasets import load_digits

    assert together.double().sum().item() == pytest.approx(load_digits().data.sum() / 16)


@has_mnist
def test_mnist_is_read_from_a_local_folder(monkeypatch):
    """The files of ESTBENCH_DATA give 50,000, 10,000 and 10,000 images with the known mean of the training set."""
    monkeypatch.setenv("ESTBENCH_DATA", str(SHARED))
    splits = data.images("mnist")
    assert [x.shape for (x,) in splits] == [(50_000, 784), (10_000, 784), (10_000, 784)]
    assert torch.cat([splits.train[0], splits.valid[0]]).mean().item() == pytest.approx(0.1307, abs=5e-5)


@has_mnist
def test_a_damaged_file_is_named(monkeypatch, tmp_path):
    """A file whose content is not what it should be is refused, and the message says which."""
    (tmp_path / "mnist").mkdir()
    for file in (SHARED / "mnist").iterdir():
        (tmp_path / "mnist" / file.name).symlink_to(file)
    damaged = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    damaged.unlink()
    damaged.write_bytes(gzip.compress(b"nothing"))
    monkeypatch.setenv("ESTBENCH_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.gz is damaged: wrong checksum"):
        data.images("mnist")
    damaged.write_bytes(b"not compressed")
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.gz is damaged"):
        data.images("mnist")


def test_without_a_network_the_message_says_what_to_do(monkeypatch):
    """A download that fails names the files and the variable that names their folder."""
    import pooch

    def refuse(*_args, **_kwargs):
        raise OSError("no route")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(UserError, match=r"could not be downloaded .* ESTBENCH_DATA"):
        data.images("mnist")


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    """The message lists what there is."""
    with pytest.raises(UserError, match="known: digits, mnist"):
        data.images("cifar")


def test_binarisations_are_what_they_say():
    """Fixed and threshold images are bits, dynamic keeps training grey, and all are the same at every call."""
    grey, fixed = data.images("digits"), data.binarised("digits", "fixed")
    dynamic, threshold = data.binarised("digits", "dynamic"), data.binarised("digits", "threshold")
    assert torch.equal(dynamic.train[0], grey.train[0])
    assert torch.equal(dynamic.test[0], fixed.test[0])
    assert set(fixed.train[0].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(threshold.valid[0], (grey.valid[0] > 0.5).float())
    data.binarised.cache_clear()
    assert torch.equal(data.binarised("digits", "fixed").train[0], fixed.train[0])


def test_a_draw_has_the_grey_levels_as_its_mean():
    """The mean of 4,000 draws is within 5 standard errors of the grey levels."""
    grey = torch.linspace(0, 1, 11).expand(4000, -1)
    drawn = data.draw(grey, torch.Generator().manual_seed(0)).mean(0)
    assert ((drawn - grey[0]).abs() <= 5 * (grey[0] * (1 - grey[0]) / 4000).sqrt()).all()
