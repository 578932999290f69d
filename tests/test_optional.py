"""What is said where a package is missing that only some parts need."""

import sys

import pytest

from fastmlp import optional


def test_a_package_that_is_there_is_given():
    assert optional.needed("json", "no-extra", "this") is sys.modules["json"]


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'a table needs scikit-learn: pip install "fastmlp\[train\]"') as caught:
        optional.needed("sklearn", "train", "a table")
    assert caught.value.name == "sklearn"


def test_a_missing_package_is_named_where_a_part_of_it_is_wanted(monkeypatch):
    for module in [module for module in sys.modules if module.startswith("sklearn.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match="needs scikit-learn"):
        optional.needed("sklearn.metrics", "train", "a table")


def test_a_package_that_lacks_another_one_says_so_itself(monkeypatch, tmp_path):
    (tmp_path / "halfway_there.py").write_text("import not_installed_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_installed_at_all"):
        optional.needed("halfway_there", "train", "a table")
