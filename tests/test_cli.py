import json
import subprocess
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp import cli, reference

RUNS = {
    "mnist": {"sparse": reference.Recorded(2, [0, 1, 2], [0.8, 0.9, 0.85], "3.15.1", "jax")},
    "printed_digits": {"sparse": reference.Recorded(2, [0, 1, 2], [0.0, 1.0, 0.5], "3.15.1", "jax")},
}
FIGURES = [
    "activation_functions.png",
    "confident_mistakes.png",
    "confusion_matrix.png",
    "sample_digits.png",
    "training_curves.png",
]


def small_digits(n):
    rng = np.random.default_rng(n)
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.resize(np.arange(10, dtype=np.uint8), n)


def unavailable(*_, **__):
    raise FileNotFoundError("MNIST is nowhere.\nThe download: no network")


@pytest.fixture
def small(monkeypatch):
    """Little data instead of the real sets, and a reference of two epochs."""
    from fastmlp.datasets import mnist, printed_digits

    for module in (mnist, printed_digits):
        monkeypatch.setattr(module, "load_data", lambda *_, **__: (small_digits(200), small_digits(50)))
    monkeypatch.setattr(reference, "recorded", lambda: RUNS)


@pytest.fixture
def without_mnist(small, monkeypatch):
    from fastmlp.datasets import mnist

    monkeypatch.setattr(mnist, "load_data", unavailable)


def run(*arguments):
    """The exit status, also where argparse leaves by SystemExit."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as leave:
        return leave.code


@pytest.mark.usefixtures("small")
def test_digits_prints_data_result_and_reference(tmp_path, capsys):
    assert run("digits", "--epochs", 2, "--data", "printed", "--out", tmp_path, "--no-plots") == 0
    out = capsys.readouterr().out
    assert "train x (200, 28, 28) uint8, values 0..255; y (200,) uint8" in out
    assert "train     20    20" in out
    assert "12,786" in out  # the summary's parameters
    content = json.loads((tmp_path / "run.json").read_text())
    assert f"test accuracy {content['test']['accuracy']:.4f} on 50 samples" in out
    assert "Keras    printed digits 0.5000 ± 0.5000, 0.0000..1.0000 over 3 seeds" in out
    assert "Keras    MNIST          0.8500 ± 0.0500, 0.8000..0.9000 over 3 seeds" in out
    assert "beside Keras 3.15.1 (jax)" in out
    assert "This run lies within" in out


@pytest.mark.usefixtures("small")
def test_digits_writes_figures_and_run_json(tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    assert run("digits", "--epochs", 1, "--seed", 7, "--out", folder) == 0
    assert sorted(path.name for path in folder.glob("*.png")) == FIGURES
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))
    assert "<title>fastmlp digits: MNIST</title>" in (folder / "report.html").read_text("utf-8")
    content = json.loads((folder / "run.json").read_text())
    assert content["settings"]["data"] == "mnist"
    assert content["settings"]["seed"] == 7
    assert content["samples"] == {"train": 200, "test": 50}
    assert content["versions"]["fastmlp"] == fastmlp.__version__
    assert sorted(content["history"]) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert all(len(values) == 1 for values in content["history"].values())
    assert 0 <= content["test"]["accuracy"] <= 1
    assert content["seconds"]["fit"] > 0
    assert content["keras"]["reference"]["accuracies"] == RUNS["mnist"]["sparse"].accuracies
    # One epoch, recorded were two.
    assert (content["keras"]["applies"], content["keras"]["place"]) == (False, None)
    out = capsys.readouterr().out
    assert "reference does not apply: it took 2 epochs, this run 1." in out
    assert f"Open {folder / 'report.html'} in a browser, and draw a digit." in out


@pytest.mark.usefixtures("small")
def test_without_plots_only_run_json_is_written(tmp_path):
    assert run("digits", "--epochs", 1, "--out", tmp_path, "--no-plots") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.usefixtures("small")
def test_the_same_seed_gives_the_same_history(tmp_path):
    histories = []
    for seed in (5, 5, 6):
        assert run("digits", "--epochs", 2, "--seed", seed, "--out", tmp_path, "--no-plots") == 0
        histories.append(json.loads((tmp_path / "run.json").read_text())["history"])
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (0.1, "lies below 0."),
        (0.85, "where a further run of Keras would lie 19 times out of 20"),
        (1.9, "lies above 0."),
    ],
)
def test_place_beside_keras_is_said(accuracy, words, monkeypatch, capsys):
    monkeypatch.setattr(reference, "recorded", lambda: RUNS)
    said = cli.digits._beside_keras("mnist", 2, accuracy)
    assert words in said["verdict"]
    assert said["verdict"] in capsys.readouterr().out
    assert said["applies"]


@pytest.mark.usefixtures("without_mnist")
def test_without_mnist_auto_takes_printed_digits_and_says_so_on_stderr(capsys):
    data, *_ = cli.digits._load("auto")
    err = capsys.readouterr().err
    assert data == "printed_digits"
    assert "MNIST could not be had; taking the printed digits" in err
    lines = err.splitlines()
    assert "* The download: no network" in lines
    assert lines[0] == lines[-1] == "*" * 80


@pytest.mark.usefixtures("without_mnist")
def test_without_mnist_asking_for_it_fails_with_the_reason(tmp_path, capsys):
    assert run("digits", "--data", "mnist", "--out", tmp_path) == 1
    err = capsys.readouterr().err
    assert err == "fastmlp digits: MNIST is nowhere.\nThe download: no network\nHere: --data printed.\n"


@pytest.mark.usefixtures("small")
def test_printed_digits_need_no_mnist(monkeypatch, capsys):
    from fastmlp.datasets import mnist

    monkeypatch.setattr(mnist, "load_data", unavailable)
    assert cli.digits._load("printed")[0] == "printed_digits"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["digits", "--epochs", "0"], "--epochs: expected a whole number of at least 1, got '0'"),
        (["digits", "--epochs", "two"], "--epochs: expected a whole number of at least 1, got 'two'"),
        (["digits", "--seed", "-1"], "--seed: expected a whole number from 0 to 4294967295, got '-1'"),
        (["digits", "--data", "letters"], "invalid choice: 'letters'"),
        (["compare", "--samples", "0"], "--samples: expected a whole number of at least 1"),
        (["trian"], "invalid choice: 'trian'"),
        ([], "required: COMMAND"),
    ],
)
def test_wrong_arguments_are_one_line_and_status_two(arguments, words, capsys):
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert "--help" in err


def test_an_unwritable_folder_is_found_before_the_training(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(cli.digits, "_load", lambda wanted: pytest.fail("data was loaded first"))
    assert run("digits", "--out", tmp_path / "file" / "folder") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"cannot write to --out {tmp_path / 'file' / 'folder'}" in err


def test_interrupting_is_one_line_and_status_130(tmp_path, monkeypatch, capsys):
    def interrupt(wanted):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.digits, "_load", interrupt)
    assert run("digits", "--out", tmp_path) == 130
    assert capsys.readouterr().err == "\nfastmlp digits: interrupted\n"


def test_compare_without_keras_says_what_to_install(monkeypatch, capsys):
    def missing():
        raise ImportError('the comparison needs Keras: pip install "fastmlp[keras]"')

    monkeypatch.setattr(reference, "import_keras", missing)
    assert run("compare") == 1
    assert capsys.readouterr().err == ('fastmlp compare: the comparison needs Keras: pip install "fastmlp[keras]"\n')


@pytest.mark.usefixtures("small")
def test_compare_hands_over_the_first_samples_split_like_keras(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(reference, "import_keras", lambda: None)
    monkeypatch.setattr(reference, "compare", lambda *arguments, **keywords: calls.append((arguments, keywords)))
    assert run("compare", "--samples", 103, "--epochs", 3, "--seed", 4) == 0
    ((x, y, (x_val, y_val)), keywords) = calls[0]
    assert (len(x), len(y), len(x_val), len(y_val)) == (82, 82, 21, 21)
    np.testing.assert_array_equal(np.concatenate([x, x_val]), small_digits(200)[0][:103])
    assert (keywords["epochs"], keywords["seed"]) == (3, 4)
    assert "MNIST: 82 training and 21 validation samples" in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_compare_scales_pixels_when_asked(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(reference, "import_keras", lambda: None)
    monkeypatch.setattr(reference, "compare", lambda x, *_, **__: calls.append(x))
    assert run("compare", "--scale") == 0
    assert (calls[0].dtype, calls[0].max()) == (np.float32, 1)
    assert "pixels 0..1," in capsys.readouterr().out


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("samples", [1, 201])
def test_compare_refuses_more_samples_than_there_are(samples, monkeypatch, capsys):
    monkeypatch.setattr(reference, "import_keras", lambda: None)
    assert run("compare", "--samples", samples) == 2
    assert f"--samples needs 2..200, the samples of MNIST; got {samples}" in capsys.readouterr().err


def test_info_names_versions_processor_and_kernel_folder(capsys):
    from fastmlp import threads
    from fastmlp.kernels._jit import cache_folder

    assert run("info") == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["fastmlp"] == fastmlp.__version__
    assert lines["numpy"] == np.__version__
    assert lines["kernels"] == str(cache_folder())
    assert lines["processor"]
    assert "float32 at once" in lines["code"]
    assert lines["threads"].startswith(f"{threads.get_num_threads()} of {threads.available()} cores")


def test_warmup_compiles_and_says_how_long_it_took(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(fastmlp, "warmup", lambda everything: calls.append("warm"))
    assert run("warmup") == 0
    assert calls == ["warm"]
    assert "The kernels are ready after 0.0 s." in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], ["digits"], ["compare"], ["info"], ["warmup"], ["cache"]])
def test_every_command_has_help(command, capsys):
    assert run(*command, "--help") == 0
    assert capsys.readouterr().out.startswith("usage: fastmlp")


def test_python_m_fastmlp_prints_the_version():
    done = subprocess.run([sys.executable, "-m", "fastmlp", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"fastmlp {fastmlp.__version__}\n"


# ------------------------------------------------------------------------------------------------------- the cache


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder with kernels of two versions, two data sets of fastmlp's and what is a user's own."""
    from fastmlp.kernels import disk_cache
    from fastmlp.kernels._jit import cache_folder

    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
    name = f"f-{'0' * 24}.nbc"
    disk_cache.write(cache_folder() / name, b"content", "of this version")
    disk_cache.write(tmp_path / "kernels" / ("1" * 24) / name, bytes(2_000_000), "fastmlp 0.0.1")
    mine = ["datasets/mnist.npz", "datasets/kmnist/train-images-idx3-ubyte.gz", "datasets/own.npz", "kernels.txt"]
    for path in mine:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(bytes(300_000))
    return tmp_path


def test_cache_shows_folders_sizes_and_versions(kept, capsys):
    assert run("cache") == 0
    out = capsys.readouterr().out
    assert run("cache", "--info") == 0
    assert capsys.readouterr().out == out
    lines = out.splitlines()
    assert lines[:3] == [f"kernels   {kept / 'kernels'}", "writable  yes", "size      2 files, 2.0 MB"]
    (old,) = [i for i, line in enumerate(lines) if "1" * 24 in line]
    assert lines[old].strip() == f"{'1' * 24}  1 file, 2.0 MB, last used within a day"
    assert lines[old + 1].strip() == "fastmlp 0.0.1"
    assert sum("of this version" in line for line in lines) == 2
    assert lines[-2:] == [f"data sets {kept / 'datasets'}", "size      2 files, 0.6 MB"]


def test_cache_clear_deletes_the_kernels_alone(kept, capsys):
    assert run("cache", "--clear") == 0
    assert f"Deleted 4 files, 2.0 MB of compiled kernels in {kept / 'kernels'}." in capsys.readouterr().out
    assert not (kept / "kernels").exists()
    assert len(list(kept.rglob("*.npz"))) == 2


def test_cache_clear_deletes_data_sets_where_asked_and_leaves_the_users_own(kept, capsys):
    assert run("cache", "--clear", "--datasets") == 0
    assert f"Deleted {kept / 'datasets' / 'mnist.npz'}, 0.3 MB." in capsys.readouterr().out
    left = {path.relative_to(kept).as_posix() for path in kept.rglob("*")}
    assert left == {"datasets", "datasets/own.npz", "kernels.txt"}


def test_cache_works_where_nothing_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "new"))
    assert run("cache") == 0
    assert "(not there yet)" in capsys.readouterr().out
    assert run("cache", "--clear", "--datasets") == 0
    assert "Deleted 0 files" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_cache_without_a_home_says_what_to_set(monkeypatch, capsys):
    import os

    for name in ("FASTMLP_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert run("cache") == 1
    assert "no home folder; FASTMLP_CACHE_DIR names a folder" in capsys.readouterr().err
    assert run("info") == 0
    assert "nowhere, each process compiles" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--datasets"], ["--info", "--clear"], ["--clear", "now"]])
def test_cache_refuses_what_says_nothing(words):
    assert run("cache", *words) == 2
