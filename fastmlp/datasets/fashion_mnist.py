"""Fashion-MNIST: 70,000 grey images of clothes in ten classes, with MNIST's shapes (Xiao, Rasul & Vollgraf)."""

from fastmlp.datasets import _idx, _store

#: What the labels 0 to 9 stand for.
CLASS_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

_DATA_SET = _idx.IdxFiles(
    title="Fashion-MNIST",
    url="https://storage.googleapis.com/tensorflow/tf-keras-datasets",
    keras_folder="fashion-mnist",
    sha256=(
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)


def load_data(path: str = "fashion_mnist") -> tuple[_store.Split, _store.Split]:
    """Fashion-MNIST from files on this machine, or downloaded once.

    It takes MNIST's place where that is too easy: the same net is right less often. Looks, in this order, for a folder
    with the four files of the data set (train-images-idx3-ubyte.gz and so on) at

    - `$FASTMLP_DATA_DIR/<path>`
    - `datasets/<path>` in `$FASTMLP_CACHE_DIR` or fastmlp's folder in the user's cache
    - `datasets/fashion-mnist` in `$KERAS_HOME` or `~/.keras`, where Keras keeps it

    and then downloads Keras's files (31 MB) to the second. Each file is checked with SHA-256; a folder with other files
    of these names is passed over with a warning.

    Args:
        path: Name of the folder in `$FASTMLP_DATA_DIR` and in fastmlp's cache; a full path is taken as it is.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images (60000, 28, 28) and (10000, 28, 28), 0 the background; labels
        (60000,) and (10000,), whose names are in CLASS_NAMES. All are uint8 and belong to the caller.

    Raises:
        FileNotFoundError: If no place has the data and the download fails; names the places and what to do.

    Source: Xiao, Rasul & Vollgraf (2017), arXiv:1708.07747; Keras's `keras.datasets.fashion_mnist.load_data`, with the
        same files and arrays. Data under the MIT license.

    Example:
        >>> from fastmlp.datasets import fashion_mnist
        >>> fashion_mnist.CLASS_NAMES[9]
        'Ankle boot'
        >>> (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()  # doctest: +SKIP
        >>> x_train.shape, x_train.dtype  # doctest: +SKIP
        ((60000, 28, 28), dtype('uint8'))
    """
    return _DATA_SET.load(path)
