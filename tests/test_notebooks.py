"""The notebooks of examples/notebooks run, and still show what is stored in them."""

import importlib.util
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="pip install 'fastmlp[notebooks]'")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FOLDER = Path(__file__).parent.parent / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

# What a cell says on the first run on a machine.
COMPILING = "fastmlp: compiling"


def structure(notebook):
    """Of every code cell its source and the kinds of its outputs; texts and figures differ from machine to machine."""
    return [
        (cell.source, [kinds(output) for output in cell.outputs if not is_compiling(output)])
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def kinds(output):
    return output.name if output.output_type == "stream" else tuple(sorted(output.data))


def is_compiling(output):
    return output.output_type == "stream" and all(line.startswith(COMPILING) for line in output.text.splitlines())


@pytest.fixture(scope="module")
def run():
    """examples/notebooks/run.py as a module."""
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 5


@pytest.mark.filterwarnings("ignore")  # of the kernel's own machinery in this process; those of cells are looked for
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_shows_what_is_stored(path, run, tmp_path, monkeypatch):
    if path.stem == "digits":
        from fastmlp.datasets import mnist

        try:
            mnist.load_data()
        except OSError as error:
            pytest.skip(f"MNIST could not be had: {error}")
    if path.stem in ("regression", "two_classes", "scikit_learn"):
        pytest.importorskip("sklearn")
    if path.stem == "scikit_learn":
        pytest.importorskip("pandas")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = run.executed(path, tmp_path)
    warnings = [
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr" and not is_compiling(output)
    ]
    assert warnings == []
    assert structure(notebook) == structure(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_whole_small_and_of_one_run(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert cell.metadata == {}
        for output in cell.outputs:
            assert not is_compiling(output)
            assert output.output_type != "error"
            texts = output.text if output.output_type == "stream" else output.data.get("text/plain", "")
            assert len(texts) < 2000  # progress is one line, not one for each step
    assert path.stat().st_size < 400_000
