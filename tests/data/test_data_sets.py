import gzip
import hashlib
import io

import numpy as np
import pytest
import scipy.io
import torch

from estbench.data import datasets
from estbench.data.sources import File, FileSource
from estbench.errors import UserError
from tests.support import SHARED

SHARED = SHARED / "data"
has_mnist = pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="no local copy of MNIST here")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    datasets.images.cache_clear()
    datasets.binarised.cache_clear()
    datasets.labels.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ESTBENCH_DATA", raising=False)
    yield
    datasets.images.cache_clear()
    datasets.binarised.cache_clear()
    datasets.labels.cache_clear()


def test_digits_are_split_without_overlap():
    """The bundled digits are 1,197, 300 and 300 images of 64 grey levels in [0, 1], none of them lost."""
    splits = datasets.images("digits")
    assert [x.shape for (x,) in splits] == [(1197, 64), (300, 64), (300, 64)]
    together = torch.cat([x for (x,) in splits])
    assert together.min() == 0
    assert together.max() == 1
    # of the 1,797 images of the test set as published: the sum of all grey levels, and how many there are of each class
    assert together.double().sum().item() * 16 == 561718
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert torch.cat(datasets.labels("digits")).bincount().tolist() == counts


@has_mnist
def test_mnist_is_read_from_a_local_folder(monkeypatch):
    """The files of ESTBENCH_DATA give 50,000, 10,000 and 10,000 images with the known mean of the training set."""
    monkeypatch.setenv("ESTBENCH_DATA", str(SHARED))
    splits = datasets.images("mnist")
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
        datasets.images("mnist")
    damaged.write_bytes(b"not compressed")
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.gz is damaged"):
        datasets.images("mnist")


def test_without_a_network_the_message_says_what_to_do(monkeypatch):
    """A download that fails names the files and the variable that names their folder."""
    import pooch

    def refuse(*_args, **_kwargs):
        raise OSError("no route")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(UserError, match=r"could not be downloaded .* ESTBENCH_DATA"):
        datasets.images("mnist")


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    """The message lists what there is."""
    with pytest.raises(UserError, match="known: digits, mnist"):
        datasets.images("cifar")


def test_binarisations_are_what_they_say():
    """Fixed and threshold images are bits, dynamic keeps training grey, and all are the same at every call."""
    grey, fixed = datasets.images("digits"), datasets.binarised("digits", "fixed")
    dynamic, threshold = datasets.binarised("digits", "dynamic"), datasets.binarised("digits", "threshold")
    assert torch.equal(dynamic.train[0], grey.train[0])
    assert torch.equal(dynamic.test[0], fixed.test[0])
    assert set(fixed.train[0].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(threshold.valid[0], (grey.valid[0] > 0.5).float())
    datasets.binarised.cache_clear()
    assert torch.equal(datasets.binarised("digits", "fixed").train[0], fixed.train[0])


def test_a_draw_has_the_grey_levels_as_its_mean():
    """The mean of 4,000 draws is within 5 standard errors of the grey levels."""
    grey = torch.linspace(0, 1, 11).expand(4000, -1)
    drawn = datasets.draw(grey, torch.Generator().manual_seed(0)).mean(0)
    assert ((drawn - grey[0]).abs() <= 5 * (grey[0] * (1 - grey[0]) / 4000).sqrt()).all()


def place(monkeypatch, folder, name, files, examples):
    """Puts files of a data set into a local folder, with their checksums, in place of the published ones."""
    (folder / name).mkdir()
    known = []
    for file, content in files.items():
        (folder / name / file).write_bytes(content)
        known.append(File(file, hashlib.sha256(content).hexdigest()))
    source = datasets.SOURCES[name]
    assert [file.name for file in source.files] == [file.name for file in known]
    monkeypatch.setitem(datasets.SOURCES, name, FileSource(name, (), tuple(known), examples, ""))
    monkeypatch.setenv("ESTBENCH_DATA", str(folder))


def idx(array):
    """An IDX file of bytes, compressed."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def fashion(numbers):
    """Twelve and five images of 28 x 28 with their classes, as files."""
    train, test = (numbers.integers(0, 256, (n, 28, 28)) for n in (12, 5))
    classes = numbers.integers(0, 10, 17)
    files = {
        "train-images-idx3-ubyte.gz": idx(train),
        "t10k-images-idx3-ubyte.gz": idx(test),
        "train-labels-idx1-ubyte.gz": idx(classes[:12]),
        "t10k-labels-idx1-ubyte.gz": idx(classes[12:]),
    }
    return train, test, classes, files


def test_fashion_is_read_with_its_labels(monkeypatch, tmp_path):
    """Images of the IDX files are in [0, 1], the last of the training file are for validation, labels go along."""
    train, test, classes, files = fashion(np.random.default_rng(0))
    place(monkeypatch, tmp_path, "fashion_mnist", files, (9, 3, 5))
    splits, labels = datasets.images("fashion_mnist"), datasets.labels("fashion_mnist")
    assert [x.shape for (x,) in splits] == [(9, 784), (3, 784), (5, 784)]
    np.testing.assert_allclose(splits.valid[0], train[9:].reshape(3, 784) / 255, rtol=1e-6)
    np.testing.assert_allclose(splits.test[0], test.reshape(5, 784) / 255, rtol=1e-6)
    assert torch.cat(labels).tolist() == classes.tolist()
    assert [len(part) for part in labels] == [9, 3, 5]


def test_a_file_with_another_checksum_is_refused(monkeypatch, tmp_path):
    """A compressed file that is known by the checksum of its bytes alone is held to that."""
    *_, files = fashion(np.random.default_rng(0))
    place(monkeypatch, tmp_path, "fashion_mnist", files, (9, 3, 5))
    other = fashion(np.random.default_rng(1))[-1]["t10k-images-idx3-ubyte.gz"]
    (tmp_path / "fashion_mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(other)
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.gz is damaged: wrong checksum"):
        datasets.images("fashion_mnist")


def test_too_few_images_are_refused(monkeypatch, tmp_path):
    """A file with the right format and another number of images is not taken for the data set."""
    *_, files = fashion(np.random.default_rng(0))
    place(monkeypatch, tmp_path, "fashion_mnist", files, (10, 3, 5))
    with pytest.raises(UserError, match=r"should hold \(10, 3, 5\) images in \[0, 1\]; got \(9, 3, 5\)"):
        datasets.images("fashion_mnist")


def test_published_bits_are_read_as_they_are(monkeypatch, tmp_path):
    """Lines of 784 digits are images, and every binarisation leaves them as published."""
    numbers = np.random.default_rng(0)
    bits = {part: numbers.integers(0, 2, (n, 784)) for part, n in (("train", 6), ("valid", 3), ("test", 2))}
    text = {
        f"binarized_mnist_{part}.amat": "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()
        for part, rows in bits.items()
    }
    place(monkeypatch, tmp_path, "binarised_mnist", text, (6, 3, 2))
    for binarisation in ("none", "fixed", "threshold", "dynamic"):
        for (found,), expected in zip(datasets.binarised("binarised_mnist", binarisation), bits.values(), strict=True):
            np.testing.assert_array_equal(found, expected)
    again = datasets.draw(datasets.images("binarised_mnist").train[0], torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(again, bits["train"])


def characters():
    """A file as that of the importance weighted autoencoders: columns of 784 grey levels."""
    numbers = np.random.default_rng(0)
    return {"data": numbers.random((784, 20)), "testdata": numbers.random((784, 4))}


def rebar_omniglot(raw, *, binarize):
    """What REBAR's experiments see, step by step with numpy."""
    parts = []
    for key in ("data", "testdata"):
        images = raw[key].T.astype("float32").reshape(-1, 28, 28)
        parts.append(np.stack([image.T.ravel() for image in images]))
    if binarize:
        np.random.seed(5)  # noqa: NPY002  (as published)
        parts = [(np.random.rand(*part.shape) < part).astype(float) for part in parts]  # noqa: NPY002
    train = parts[0][np.random.RandomState(seed=123).permutation(20)]
    return train[:-6], train[-6:], parts[1]


@pytest.mark.parametrize("binarisation", ["none", "fixed", "dynamic"])
def test_omniglot_is_what_rebar_saw(monkeypatch, tmp_path, binarisation):
    """Order, orientation, split and the bits of seed 5 are those of the published code."""
    raw = characters()
    scipy.io.savemat(tmp_path / "made.mat", raw)
    files = {"chardata.mat": (tmp_path / "made.mat").read_bytes()}
    place(monkeypatch, tmp_path, "omniglot", files, (14, 6, 4))
    grey, bits = rebar_omniglot(raw, binarize=False), rebar_omniglot(raw, binarize=True)
    expected = {"none": grey, "fixed": bits, "dynamic": (grey[0], *bits[1:])}[binarisation]
    for (found,), wanted in zip(datasets.binarised("omniglot", binarisation), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_something_else_in_place_of_omniglot_is_refused(monkeypatch, tmp_path):
    """Without a checksum, what is no MATLAB file, or lacks the matrices, is still refused in one line."""
    for content in (b"<html>not found</html>", b"", b"x" * 500):
        place(monkeypatch, tmp_path, "omniglot", {"chardata.mat": content}, (14, 6, 4))
        datasets.images.cache_clear()
        with pytest.raises(UserError, match=r"chardata.mat is no MATLAB file of Omniglot"):
            datasets.images("omniglot")
        (tmp_path / "omniglot" / "chardata.mat").unlink()
        (tmp_path / "omniglot").rmdir()


@pytest.mark.parametrize("name", sorted(datasets.SOURCES))
def test_every_data_set_says_offline_what_to_do(monkeypatch, name):
    """Whichever cannot be downloaded, the message names it, its files and the variable."""
    import pooch

    def refuse(*_args, **_kwargs):
        raise OSError("no route")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(UserError, match=rf"{name} is not on this machine .* folder {name}/ .* ESTBENCH_DATA"):
        datasets.images(name)


def test_names_and_types_of_data_sets_agree():
    """The options of tasks name the data sets that there are."""
    from typing import get_args

    assert set(get_args(datasets.Dataset)) == {"digits", *datasets.SOURCES}


def keras(files, train, test, classes):
    """An archive as Keras keeps MNIST."""
    content = io.BytesIO()
    np.savez(content, x_train=train, y_train=classes[:12], x_test=test, y_test=classes[12:])
    return {"mnist.npz": content.getvalue()}


def unpacked(files, *_):
    return {name.removesuffix(".gz"): gzip.decompress(content) for name, content in files.items()}


def dotted(files, *_):
    return {
        name.removesuffix(".gz").replace("-idx", ".idx"): gzip.decompress(content) for name, content in files.items()
    }


def dotted_and_packed(files, *_):
    return {name.replace("-idx", ".idx"): content for name, content in files.items()}


def served(files, *_):
    return files


@pytest.mark.parametrize("layout", [served, unpacked, dotted, dotted_and_packed, keras])
@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "vision/mnist", "a/MNIST/raw", "."])
def test_files_are_found_as_other_libraries_leave_them(monkeypatch, tmp_path, layout, folder):
    """Compressed or not, with a dot in the name, in torchvision's folders, one level deeper, or in Keras' archive."""
    train, test, classes, files = fashion(np.random.default_rng(1))
    known = [
        File(name, hashlib.sha256(packed).hexdigest(), hashlib.sha256(gzip.decompress(packed)).hexdigest())
        for name, packed in files.items()
    ]
    root = tmp_path / ("mnist" if folder == "." else "data")
    (root / folder).mkdir(parents=True)
    for name, content in layout(files, train, test, classes).items():
        (root / folder / name).write_bytes(content)
    other = root / "FashionMNIST" / "raw"
    other.mkdir(parents=True)
    for name in files:
        (other / name).write_bytes(b"of another data set")
    source = FileSource("mnist", (), tuple(known), (9, 3, 5), "", "mnist.npz")
    monkeypatch.setitem(datasets.SOURCES, "mnist", source)
    monkeypatch.setenv("ESTBENCH_DATA", str(root))
    assert source.present()
    splits = datasets.images("mnist")
    np.testing.assert_allclose(splits.test[0], test.reshape(5, 784) / 255, rtol=1e-6)
    assert torch.cat(datasets.labels("mnist")).tolist() == classes.tolist()


def test_a_folder_that_lacks_a_file_is_named(monkeypatch, tmp_path):
    """Where one file is missing and nothing can be downloaded, the message says which, and in which folder."""
    *_, files = fashion(np.random.default_rng(1))
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in list(files.items())[:-1]:
        (folder / name).write_bytes(content)
    monkeypatch.setenv("ESTBENCH_DATA", str(tmp_path))
    monkeypatch.setitem(
        datasets.SOURCES, "mnist", FileSource("mnist", (), tuple(File(name, "") for name in files), (9, 3, 5), "")
    )
    with pytest.raises(UserError, match=rf"the folder {folder} lacks t10k-labels-idx1-ubyte.gz$"):
        datasets.images("mnist")
