"""Arrays in HDF5 files: written plainly, and read with distrust.

A file may come from anywhere. Only plain arrays of numbers are given out: no links to other places or files, no storage
outside the file, no compression, no strings or objects. And none is read here: the caller first compares the shape that
it declares with the one that is needed.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastmlp.optional import needed

#: Bytes of texts in one attribute. Keras's are of fixed length, and up to 64 KiB.
_MOST_TEXT = 1 << 28

#: Arrays by the path of their group, whose members are called "0", "1", ...; and a text that the group carries.
Groups = Mapping[str, tuple[str, Sequence[np.ndarray]]]


def need_h5py() -> Any:
    """The package h5py.

    Raises:
        ImportError: If it isn't installed.
    """
    return needed("h5py", "keras-files", "a file of Keras (.keras, .weights.h5)")


def written(groups: Groups) -> bytes:
    """The content of a file with these arrays."""
    h5py = need_h5py()
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for path, (name, arrays) in groups.items():
            group = file.create_group(path)
            group.attrs["name"] = name
            for i, array in enumerate(arrays):
                group.create_dataset(str(i), data=np.array(array, order="C"))
    return content.getvalue()


@contextlib.contextmanager
def opened(source: Any, what: str) -> Iterator[Any]:
    """The root group of a file in an open binary stream.

    Raises:
        OSError: If it is no HDF5 file, cut short or damaged, then or while it is read; `what` names it.
    """
    need_h5py()
    try:
        with _file(source) as file:
            yield file
    except (OSError, KeyError, RuntimeError, TypeError, EOFError, MemoryError, ArithmeticError) as error:
        raise OSError(
            f"{what} can't be read as an HDF5 file ({error}): it is cut short, damaged, or of something else"
        ) from error


def _file(source: Any) -> Any:
    """The file; OSError also where its addresses are beyond what Python's streams can seek."""
    try:
        return need_h5py().File(source, "r")
    except ValueError as error:
        raise OSError(str(error)) from error


def member(group: Any, path: str) -> Any:
    """What lies in a group at that path, or None.

    Raises:
        ValueError: If it is reached by a link to another place or file.
    """
    h5py = need_h5py()
    for part in path.split("/"):
        # Asked of the links themselves: h5py's own `in` and `get` would open the file that one leads to.
        if not isinstance(group, h5py.Group) or not part or not group.id.links.exists(part.encode()):
            return None
        if group.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{path} is reached by a link to another place or file, {part!r}, which is refused")
        group = group[part]
    return group


def names(group: Any, path: str) -> list[str]:
    """Names in the group at that path; none where there is no group."""
    found = member(group, path)
    return [] if not isinstance(found, need_h5py().Group) else list(found)


def arrays(group: Any, path: str) -> list[Any]:
    """The members "0", "1", ... of the group at that path, checked but not read; none where there is no group.

    Raises:
        ValueError: If its members are called otherwise, or one is no plain array of numbers.
    """
    found = names(group, path)
    wanted = [str(i) for i in range(len(found))]
    if set(found) != set(wanted):
        raise ValueError(f"{path} has {sorted(found)[:5]} where Keras numbers its arrays, 0 to {len(found) - 1}")
    return [array(group, f"{path}/{name}") for name in wanted]


def array(group: Any, path: str) -> Any:
    """The array at that path, checked but not read.

    Raises:
        ValueError: If there is none, or it isn't a plain array of numbers.
    """
    found = member(group, path)
    if not isinstance(found, need_h5py().Dataset):
        raise ValueError(f"there is no array {path}")
    dtype = found.dtype
    if dtype.kind not in "fiu" or dtype.itemsize > 8 or found.shape is None:
        raise ValueError(f"{path} holds {dtype}, where floats are needed")
    if found.external or found.is_virtual:
        raise ValueError(f"the numbers of {path} lie in another file, which is refused")
    if found.id.get_create_plist().get_nfilters():
        raise ValueError(f"{path} is compressed or filtered ({found.compression}), which Keras's files are not")
    return found


def check_held(found: Any, what: str) -> None:
    """ValueError where the file lacks numbers of an array, which HDF5 would make up."""
    held, wanted = found.id.get_storage_size(), found.size * found.dtype.itemsize
    if held < wanted:
        raise ValueError(f"{what} has the shape {found.shape}, {wanted} bytes, but the file holds {held}")


def texts(group: Any, name: str) -> list[str] | None:
    """The attribute of that name as texts, or None without it."""
    if name not in group.attrs:
        return None
    held = group.attrs.get_id(name)
    # Texts of open length lie elsewhere in the file, and all may be the same one.
    most = group.file.id.get_filesize() if held.dtype.kind == "O" else held.dtype.itemsize
    if math.prod(held.shape) * most > _MOST_TEXT:
        raise ValueError(f"the texts {name!r} may take more than {_MOST_TEXT} bytes, which those of no model do")
    return [text.decode() if isinstance(text, bytes) else str(text) for text in np.ravel(group.attrs[name])]
