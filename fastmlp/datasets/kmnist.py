"""Kuzushiji-MNIST: 70,000 grey images of ten Hiragana in old handwriting, with MNIST's shapes (Clanuwat et al.)."""

from fastmlp.datasets import _idx, _store

#: What the labels 0 to 9 stand for, in Latin letters.
CLASS_NAMES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

#: The same as Hiragana of today.
CHARACTERS = ("お", "き", "す", "つ", "な", "は", "ま", "や", "れ", "を")

_DATA_SET = _idx.IdxFiles(
    title="KMNIST",
    url="https://codh.rois.ac.jp/kmnist/dataset/kmnist",
    keras_folder="kmnist",
    sha256=(
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
)


def load_data(path: str = "kmnist") -> tuple[_store.Split, _store.Split]:
    """Kuzushiji-MNIST from files on this machine, or downloaded once.

    It takes MNIST's place where that is too easy: each character was written in several quite different ways. Looks, in
    this order, for a folder with the four files of the data set (train-images-idx3-ubyte.gz and so on) at

    - `$FASTMLP_DATA_DIR/<path>`
    - `datasets/<path>` in `$FASTMLP_CACHE_DIR` or fastmlp's folder in the user's cache
    - `datasets/kmnist` in `$KERAS_HOME` or `~/.keras`

    and then downloads its publisher's files (21 MB) to the second. Each file is checked with SHA-256; a folder with
    other files of these names is passed over with a warning.

    Args:
        path: Name of the folder in `$FASTMLP_DATA_DIR` and in fastmlp's cache; a full path is taken as it is.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images (60000, 28, 28) and (10000, 28, 28), 0 the background; labels
        (60000,) and (10000,), whose names are in CLASS_NAMES. All are uint8 and belong to the caller.

    Raises:
        FileNotFoundError: If no place has the data and the download fails; names the places and what to do.

    Source: Clanuwat et al. (2018), arXiv:1812.01718; "KMNIST Dataset" (created by CODH), adapted from "Kuzushiji
        Dataset" (created by NIJL and others), doi:10.20676/00000341. Data under CC BY-SA 4.0.

    Example:
        >>> from fastmlp.datasets import kmnist
        >>> kmnist.CLASS_NAMES[0], kmnist.CHARACTERS[0]
        ('o', 'お')
        >>> (x_train, y_train), (x_test, y_test) = kmnist.load_data()  # doctest: +SKIP
        >>> x_train.shape, x_train.dtype  # doctest: +SKIP
        ((60000, 28, 28), dtype('uint8'))
    """
    return _DATA_SET.load(path)
