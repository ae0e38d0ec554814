"""Sources of data sets: files in a local folder, a cache, or downloads with checksums.

The folder that the environment variable ``ESTBENCH_DATA`` names is searched first, and then the user's cache, into
which files are downloaded.
"""

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from estbench.data import local
from estbench.errors import UserError


@dataclass(frozen=True)
class File:
    """A file of a data set.

    Args:
        name: its name; a file whose name ends in ``.gz`` is decompressed when it is read.
        packed: SHA-256 of the file that the mirrors serve; empty if none has been published.
        content: SHA-256 of the content of a compressed file, so that a local copy may be compressed differently; empty
            to check ``packed`` only.
    """

    name: str
    packed: str
    content: str = ""

    def open(self, path: Path) -> bytes:
        """The content of the file at this path.

        Raises:
            UserError: the file is damaged.
        """
        try:
            raw = path.read_bytes()
            content = self._content(path, raw)
        except (OSError, EOFError, KeyError, ValueError, zlib.error) as error:
            raise UserError(f"{path} is damaged ({error}); remove it and fetch again") from error
        # if a local file has a different form than the served one, only its content can be checked
        served = path.name.endswith(".gz") or not self.name.endswith(".gz")
        wanted, found = (self.content, content) if self.content else (self.packed if served else "", raw)
        if wanted and hashlib.sha256(found).hexdigest() != wanted:
            raise UserError(f"{path} is damaged: wrong checksum; remove it and fetch again")
        return content

    def _content(self, path: Path, raw: bytes) -> bytes:
        if path.suffix == ".npz":
            return local.from_keras(raw, self.name)
        return gzip.decompress(raw) if path.suffix == ".gz" else raw


@dataclass(frozen=True)
class FileSource:
    """The source of the files of a data set.

    Args:
        name: the name of the data set and of its folder.
        mirrors: addresses that serve the files.
        files: the files.
        examples: number of images in the training, validation and test set; if there is no file of validation images,
            they are the last ones of the training file.
        note: a description for ``estbench data list``.
        archive: the name of a file of another library that may replace all of them.
    """

    name: str
    mirrors: tuple[str, ...]
    files: tuple[File, ...]
    examples: tuple[int, int, int]
    note: str
    archive: str = ""

    def folder(self) -> Path:
        """The local folder below ESTBENCH_DATA if it holds every file, otherwise the cache."""
        found = self._local()
        return found.folder if found.folder and found.whole else cache() / self.name

    def _local(self) -> local.LocalFiles:
        """The files of the data set in the folder that ESTBENCH_DATA names."""
        root = os.environ.get("ESTBENCH_DATA", "")
        names = tuple(file.name for file in self.files)
        return local.find(Path(root), self.name, names, self.archive) if root else local.LocalFiles()

    def present(self) -> bool:
        """Whether every file exists on this machine."""
        return self._local().whole or all((cache() / self.name / file.name).is_file() for file in self.files)

    def fetch(self) -> None:
        """Downloads the files that are missing and checks all of them, as ``read`` does."""
        for file in self.files:
            self.read(file.name)

    def read(self, name: str) -> bytes:
        """The content of one of its files, which is downloaded if it does not exist.

        Raises:
            UserError: the file cannot be downloaded, or is damaged.
        """
        file = next(file for file in self.files if file.name == name)
        found = self._local()
        if found.whole:
            return file.open(found.files[name])
        path = cache() / self.name / name
        if not path.is_file():
            self._download(file, found)
        return file.open(path)

    def _download(self, file: File, found: local.LocalFiles) -> None:
        import pooch  # noqa: PLC0415  (slow, and needed only here)

        failures = []
        for mirror in self.mirrors:
            try:
                known = f"sha256:{file.packed}" if file.packed else None
                pooch.retrieve(mirror + file.name, known, file.name, cache() / self.name)
            except (OSError, ValueError) as error:
                failures.append(f"{mirror}: {type(error).__name__}")
            else:
                return
        reason = f"{self.name} is not on this machine and could not be downloaded ({'; '.join(failures)}); "
        if found.missing:
            raise UserError(f"{reason}the folder {found.folder} lacks {', '.join(found.missing)}")
        raise UserError(
            f"{reason}put {', '.join(each.name for each in self.files)} into a folder {self.name}/ and name its parent "
            "in ESTBENCH_DATA"
        )


def cache() -> Path:
    """The user's cache folder for data."""
    import pooch  # noqa: PLC0415

    return Path(pooch.os_cache("estbench"))


MNIST = FileSource(
    "mnist",
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    (
        File(
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        File(
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        File(
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        File(
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    (50_000, 10_000, 10_000),
    "handwritten digits, 28x28 grey; 50,000 / 10,000 / 10,000",
    "mnist.npz",
)
# the checksums of these and of the binarised digits are those of TensorFlow Datasets (url_checksums/)
FASHION_MNIST = FileSource(
    "fashion_mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    (
        File("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        File("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        File("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        File("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
    (50_000, 10_000, 10_000),
    "clothes, 28x28 grey; 50,000 / 10,000 / 10,000",
)
BINARISED_MNIST = FileSource(
    "binarised_mnist",
    ("http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",),
    (
        File("binarized_mnist_train.amat", "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
        File("binarized_mnist_valid.amat", "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
        File("binarized_mnist_test.amat", "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
    ),
    (50_000, 10_000, 10_000),
    "MNIST as binarised once by Salakhutdinov & Murray; 50,000 / 10,000 / 10,000",
)
# no checksum has been published; the number and the range of the images are checked when the file is read
OMNIGLOT = FileSource(
    "omniglot",
    (
        "https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/",
        "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/",
    ),
    (File("chardata.mat", ""),),
    (23_000, 1_345, 8_070),
    "characters of 50 alphabets, 28x28 grey, split as by REBAR; 23,000 / 1,345 / 8,070",
)
