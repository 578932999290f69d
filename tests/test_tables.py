"""fastmlp train and predict, and what they stand on: tables that are usual, odd and broken."""

import io
import itertools
import json
import os
import shutil
import sys

import numpy as np
import pytest
from support import full

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from fastmlp import cli, models, tables  # noqa: E402
from fastmlp.tables import columns, reading  # noqa: E402


def run(*arguments):
    """The exit status, also where argparse leaves by SystemExit."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as leave:
        return leave.code


def people(n=120, seed=0):
    """Numbers, texts, gaps; `group` follows from `height` and `town`."""
    rng = np.random.default_rng(seed)
    height = rng.normal(170, 10, n).round(1)
    town = rng.choice(["Köln", "Bonn, Nord", 'the "Hill"'], n)
    tall = np.where(height + 5 * (town == "Köln") > 170, "tall", "small")
    return pd.DataFrame({"height": height, "town": town, "group": tall})


@pytest.fixture
def table(tmp_path):
    """Write text or a frame to a file and give its path."""

    def write(content, name="table.csv", **options):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            content.to_csv(path, index=False, **options)
        return path

    return write


def train(path, target, folder, *options):
    return run("train", path, "--target", target, "--out", folder, "--epochs", 3, "--hidden", 8, *options)


# -- reading


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_header_tells_the_separator(table, separator):
    frame = tables.read_table(table(people(), sep=separator)).frame
    assert frame.columns.tolist() == ["height", "town", "group"]
    assert set(frame["town"]) == {"Köln", "Bonn, Nord", 'the "Hill"'}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(table, encoding):
    path = table("a,b\n1,ü\n".encode(encoding))
    assert tables.read_table(path).frame.columns.tolist() == ["a", "b"]


def test_another_encoding_can_be_named(table):
    path = table("a,b\n1,ü\n".encode("latin-1"))
    assert tables.read_table(path, encoding="latin-1").frame["b"].tolist() == ["ü"]


def test_texts_in_quotes_may_have_line_breaks(table):
    frame = tables.read_table(table('a,b\n"two\nlines",1\n"x",2\n')).frame
    assert frame["a"].tolist() == ["two\nlines", "x"]


def test_blank_lines_and_blanks_after_separators_are_no_cells(table):
    frame = tables.read_table(table("a, b\n\n1, x\n   \n2, y\n")).frame
    assert frame["b"].tolist() == ["x", "y"]


def test_cells_that_stand_for_nothing_are_missing(table):
    frame = tables.read_table(table("a,b\n?,1\nNA,1\n-,1\n,1\nnull,1\n0,1\n")).frame
    assert frame["a"].isna().tolist() == [True] * 5 + [False]


def test_columns_without_a_name_are_left_out(table):
    found = tables.read_table(table(",a\n0,1\n1,2\n"))
    assert found.frame.columns.tolist() == ["a"]
    assert found.notes == ["1 column without a name left out."]


def test_the_standard_input_is_read(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a;b\n1;2\n")))
    assert tables.read_table("-").frame.columns.tolist() == ["a", "b"]


def test_parquet_is_read_or_what_it_needs_is_named(tmp_path):
    path = tmp_path / "table.parquet"
    try:
        people().to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(ImportError, match="pip install pyarrow"):
            tables.read_table(path)
    else:
        assert tables.read_table(path).frame["height"].dtype == np.float64


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a,b\n", "has a header but no rows"),
        (b"a,b\n1,2\n1,2,3\n", r"line 3 of .* has 3 cells, but the header has 2"),
        (b"a,b\n1,2\n1\n", r"line 3 of .* has 1 cells"),
        (b"a,b,a\n1,2,3\n", "more than one column named 'a'"),
        (b"a,b\n1,\xfc\n", "not in utf-8: line 2 has the byte 0xfc; give --encoding latin-1"),
        (b"a,b\n1,\x00\n", "zero bytes"),
        (b'a,b\n1,"' + b"x" * 200_000 + b"\n", "line 2 of .* cannot be read: field larger than"),
    ],
)
def test_what_is_no_table_is_said_in_a_line(table, content, words):
    with pytest.raises(tables.TableError, match=words) as caught:
        tables.read_table(table(content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_said(tmp_path):
    with pytest.raises(tables.TableError, match="No such file"):
        tables.read_table(tmp_path / "no.csv")
    with pytest.raises(tables.TableError, match="Is a directory"):
        tables.read_table(tmp_path)


def test_a_file_that_memory_has_no_room_for_is_not_read(table, monkeypatch):
    monkeypatch.setattr(reading, "_free_memory", lambda: 100)
    with pytest.raises(tables.TableError, match="take a sample of its rows"):
        tables.read_table(table(people()))


# -- deciding


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["yes", "no"] * 9, "classification"),
        (["0", "1", "2"] * 9, "classification"),
        (["0.0", "1.0"] * 9, "classification"),
        ([str(i) for i in range(11)] * 9, "regression"),
        (["0", "1", "2"], "regression"),
        (["0.5", "1"] * 9, "regression"),
        (["0,5", "1,5"] * 9, "regression"),
        ([True, False] * 9, "classification"),
    ],
)
def test_the_target_tells_the_task(values, task):
    assert tables.choose_task(pd.Series(values)) == task


def test_names_of_classes_are_the_same_however_numbers_are_written():
    assert columns.class_names(pd.Series(["1", " 1.0", "-2.00", None, "1.5"])) == ["1", "1", "-2", None, "1.5"]
    assert columns.in_order(["10", "9", "9"]) == ["9", "10"]
    assert columns.in_order(["10", "9", "x"]) == ["10", "9", "x"]


def decided(**named):
    n = len(next(iter(named.values())))
    frame = pd.DataFrame({**named, "y": np.resize(["a", "b"], n)}).astype(object)
    return tables.Preprocessing.fit(frame, "y", "classification", ["a", "b"])


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([None] * 20, "empty"),
        (["x"] * 20, "always 'x'"),
        ([f"t{i}" for i in range(20)], "20 different texts"),
        ([f"t{i % 60}" for i in range(300)], "60 different texts"),
        ([str(i) for i in range(5, 25)], "a number of its own for each row"),
        (["2024-01-31", "2023-5-1"] * 10, "dates"),
        (["31.12.2024", "1.1.99"] * 10, "dates"),
        (["2024-01-31 12:00", "2023-05-01T01:00Z"] * 10, "dates"),
        ([f"{i % 7}e300" for i in range(20)], "numbers too large to work with"),
        (["5", "inf"] * 10, "2 different"),
    ],
)
def test_columns_of_no_use_are_dropped_with_the_reason(values, why):
    n = len(values)
    if why == "2 different":  # half of it is no finite number, so it is taken for two texts
        assert decided(v=values).columns[0].kind == "category"
        return
    made = decided(v=values, other=[str(i * i % 7) for i in range(n)])
    assert [column.name for column in made.columns] == ["other"]
    assert why in made.dropped["v"]


def test_an_id_is_known_by_its_name_or_by_counting():
    shuffled = np.random.default_rng(0).permutation(40)
    made = decided(customer_id=shuffled.tolist(), amount=(shuffled * 3).tolist())
    assert list(made.dropped) == ["customer_id"]


def test_no_usable_column_is_an_error():
    with pytest.raises(tables.TableError, match=r"no column can be used to predict 'y' \(v: always '1'\)"):
        decided(v=["1"] * 20)


def test_few_cells_that_are_no_numbers_are_missing():
    made = decided(v=[*map(str, np.arange(1, 99) ** 2), "many", None])
    (column,) = made.columns
    assert (column.kind, column.flag, column.width) == ("number", True, 2)


def test_numbers_are_standardized_and_texts_get_an_input_each():
    made = decided(v=["1", "3", None, "3", "1"] * 4, w=["x", "z", "x", None, "z"] * 4)
    frame = pd.DataFrame({"w": ["z", "new", None], "v": ["4", None, "2"]})
    x, notes = made.transform(frame)
    np.testing.assert_allclose(x, [[2, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1]])
    assert notes == ["w: 'new' did not occur in training, so it counts as none of the known ones."]


def test_gaps_that_training_had_none_of_are_said():
    made = decided(v=["1", "3"] * 10, w=["x", "z"] * 10)
    x, notes = made.transform(pd.DataFrame({"v": [None, "x", "1"], "w": [None, "x", "x"]}))
    np.testing.assert_allclose(x[:, 0], [0, 0, -1])
    assert notes == [
        "v: 'x' and the like are no numbers and taken as missing.",
        "v: 2 missing, none of them in training; the median stands in.",
        "w: 1 missing, none of them in training; they count as none of the known ones.",
    ]


def test_preprocessing_comes_back_from_its_file(tmp_path):
    made = decided(v=["1,5", "3", None, "3", "1"] * 4, w=["ü", "z", "x", None, "z"] * 4)
    made.save(tmp_path / "p.json")
    assert tables.Preprocessing.load(tmp_path / "p.json") == made


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(format="other"),
        lambda content: content.pop("columns"),
        lambda content: content.update(classes=[]),
        lambda content: content.update(more=1),
        lambda content: content["columns"][0].update(kind="code"),
        lambda content: content["columns"][0].update(scale=0),
        lambda content: content["columns"][0].update(mean="1"),
        lambda content: content["columns"][0].update(mean=float("nan")),
        lambda content: content.update(classes=[1, 2]),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(tmp_path, change):
    decided(v=["1", "3"] * 10).save(tmp_path / "p.json")
    content = json.loads((tmp_path / "p.json").read_text())
    change(content)
    (tmp_path / "p.json").write_text(json.dumps(content))
    with pytest.raises(tables.TableError, match="is not what `fastmlp train` writes"):
        tables.Preprocessing.load(tmp_path / "p.json")


# -- the commands


def test_train_and_predict_classes(table, tmp_path, capsys):
    path = table(people(), "people.csv")
    assert run("train", path, "--target", "group", "--out", tmp_path / "out", "--epochs", 60, "--seed", 1) == 0
    out = capsys.readouterr().out
    for words in (
        "people.csv: 120 rows, 3 columns.",
        "'group' has 2 classes: small, tall.",
        "Used as numbers, standardized: height.",
        "Used as categories, one input each: town.",
        "81 rows to train on, 15 to end the training, 24 to test.",
        "The network: 4-64-32-1, relu; Adam 0.001, batches of 32, at most 60 epochs, seed 1.",
        "the commonest class alone",
        "precision  recall",
    ):
        assert words in out
    run_json = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run_json["result"]["accuracy"] > run_json["baseline"]["accuracy"] + 0.2
    assert f"the network is right        {run_json['result']['accuracy']:7.1%}" in out
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    tested = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(tested) == 24
    assert (people()["group"].to_numpy()[tested["row"] - 1] == tested["group"]).all()
    assert (tested["group"] == tested["predicted group"]).mean() == pytest.approx(run_json["result"]["accuracy"])

    new = people(30, seed=2).assign(extra=1)[["extra", "town", "height"]]
    assert run("predict", tmp_path / "out", table(new, "new.csv", sep=";"), "--out", tmp_path / "told.csv") == 0
    told = pd.read_csv(tmp_path / "told.csv")
    assert told.columns.tolist() == ["extra", "town", "height", "predicted group", "probability"]
    assert (told["predicted group"] == people(30, seed=2)["group"]).mean() > 0.8
    assert told["probability"].between(0.5, 1).all()


def test_train_and_predict_numbers(table, tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": 1e6 + 50 * x[:, 0] - 20 * x[:, 1]}).round(4)
    path = table(frame, sep=";", decimal=",")
    assert run("train", path, "--target", "y", "--out", tmp_path / "out", "--epochs", 100, "--hidden", "16") == 0
    assert "'y' is a number." in capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "run.json").read_text())
    result, history = content["result"], content["history"]
    assert result["R2"] > 0.95
    # Losses are in the target's unit, too: at first about those of the mean alone.
    assert content["baseline"]["RMSE"] == pytest.approx(history["val_loss"][0] ** 0.5, rel=0.5)
    assert content["baseline"]["MAE"] == pytest.approx(history["val_mean_absolute_error"][0], rel=0.5)
    model = models.load_model(tmp_path / "out" / "model.safetensors")
    made = tables.Preprocessing.load(tmp_path / "out" / "preprocessing.json")
    alone = model.predict(made.transform(frame)[0])[:, 0]  # the model gives values in the target's unit by itself
    answers = tables.predict_table(tmp_path / "out", tables.read_table(path))
    np.testing.assert_array_equal(answers.frame["predicted y"], alone)
    assert answers.result["R2"] == pytest.approx(1 - np.mean((alone - frame["y"]) ** 2) / frame["y"].var(ddof=0))


def test_the_same_seed_trains_the_same_network(table, tmp_path):
    path = table(people())
    for folder in ("one", "two"):
        assert train(path, "group", tmp_path / folder) == 0
    one, two = ((tmp_path / folder / "predictions.csv").read_bytes() for folder in ("one", "two"))
    assert one == two


def test_three_classes_of_whole_numbers(table, tmp_path, capsys):
    frame = pd.DataFrame({"x": np.resize(np.arange(17), 90), "y": np.resize([3, 1, 2], 90)})
    assert train(table(frame), "y", tmp_path / "out", "--batch-size", 8, "--activation", "tanh") == 0
    out = capsys.readouterr().out
    assert "'y' has 3 classes: 1, 2, 3." in out
    assert "The network: 1-8-3, tanh; Adam 0.001, batches of 8, at most 3 epochs, seed 0." in out


def test_rows_without_a_target_and_classes_of_few_rows_are_left_out(table, tmp_path, capsys):
    frame = people()
    frame.loc[:4, "group"] = None
    frame.loc[5, "group"] = "huge"
    assert train(table(frame), "group", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "5 rows without a 'group' left out." in out
    assert "1 rows of classes with fewer than 3 rows left out: 'huge'." in out


def test_a_network_no_better_than_the_baseline_is_called_so(table, tmp_path, capsys):
    frame = pd.DataFrame({"x": np.resize([1, 2, 4], 100), "y": np.resize(["often"] * 9 + ["seldom"], 100)})
    assert train(table(frame), "y", tmp_path / "out") == 0
    assert "no better than the simplest answer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "target", "words"),
    [
        (people(), "gruop", "has no column 'gruop'; did you mean 'group'?"),
        ("1,2\n3,4\n", "y", "its first line holds numbers, but should hold the columns' names"),
        (people().assign(group="one"), "group", "every row's 'group' is 'one'; at least two classes"),
        (people().assign(group=None), "group", "every row's 'group' is missing"),
        (people(2), "group", "2 rows with a 'group' to use; at least 20"),
        (people(15).assign(group=1.5 * np.arange(15)), "group", "15 rows with a 'group' to use; at least 20"),
        (people().assign(group=2.5), "group", "every 'group' is 2.5, so there is nothing to learn"),
        (people()[["group"]], "group", "no column can be used to predict 'group' (there is no other column)"),
        (people().assign(group=[f"n{i}" for i in range(120)]), "group", "too many to be classes"),
        (people().assign(group=["a"] * 117 + ["b", "b", "c"]), "group", "3 different values in 120 rows, 2 of them in"),
        (
            people().assign(group=np.linspace(0.5, 1, 120) * 1e300),
            "group",
            "'group' has 1e+300, too large to be squared",
        ),
        ("", "y", "is empty"),
    ],
)
def test_train_says_what_is_wrong_in_a_line(table, tmp_path, capsys, content, target, words):
    assert train(table(content), target, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("fastmlp train: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_regression_of_texts_is_refused(table, tmp_path, capsys):
    assert train(table(people()), "group", tmp_path / "out", "--task", "regression") == 2
    assert "which is no number; classes need --task classification" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--test", "1"),
        ("--test", "x"),
        ("--hidden", "8,0"),
        ("--hidden", "8;4"),
        ("--activation", "rleu"),
        ("--activation", "softmax"),
        ("--learning-rate", "0"),
        ("--learning-rate", "nan"),
        ("--separator", "ab"),
        ("--task", "clustering"),
    ],
)
def test_wrong_options_are_one_line(capsys, option, value):
    assert run("train", "t.csv", "--target", "y", option, value) == 2
    error = capsys.readouterr().err
    assert option in error
    assert error.count("\n") == 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    table = tables.Table(people(), "people")
    tables.train_table(table, "group", tables.Settings(epochs=1, hidden=(4,)), say=lambda line: None).save(folder)
    return folder


def test_predict_names_what_a_table_lacks(trained, table, capsys):
    path = table(people().rename(columns={"height": "hight"}).drop(columns="town"))
    assert run("predict", trained, path) == 2
    assert "the table lacks 'height' (it has 'hight'), 'town'" in capsys.readouterr().err


def test_predict_prints_a_table_and_nothing_else(trained, table, capsys):
    assert run("predict", trained, table(people(5)), "--out", "-") == 0
    found = capsys.readouterr()
    assert pd.read_csv(io.StringIO(found.out))["predicted group"].isin(["small", "tall"]).all()
    assert "accuracy" in found.err


def test_predict_does_not_write_over_the_table(trained, table, capsys):
    path = table(people())
    assert run("predict", trained, path, "--out", path) == 2
    assert "is the table itself" in capsys.readouterr().err


def test_predict_one_row(trained, table, tmp_path):
    assert run("predict", trained, table(people(1)), "--out", tmp_path / "told.csv") == 0
    assert len(pd.read_csv(tmp_path / "told.csv")) == 1


@pytest.mark.parametrize("file", ["model.safetensors", "preprocessing.json"])
@pytest.mark.parametrize("damage", ["gone", "text"])
def test_predict_needs_a_whole_model(trained, table, tmp_path, capsys, file, damage):
    for name in ("model.safetensors", "preprocessing.json"):
        if name != file or damage == "text":
            content = b"text" if name == file else (trained / name).read_bytes()
            (tmp_path / name).write_bytes(content)
    assert run("predict", tmp_path, table(people())) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_predict_refuses_files_of_two_trainings(trained, table, tmp_path, capsys):
    (tmp_path / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    decided(v=["1", "3"] * 10).save(tmp_path / "preprocessing.json")
    assert run("predict", tmp_path, table(people().assign(v=1))) == 2
    assert "are not of one training" in capsys.readouterr().err


def two_trainings():
    """Of the same columns; the classes of the second have other names, and its columns other means."""
    settings = tables.Settings(epochs=1, hidden=(4,))
    frames = [people(), people().assign(height=lambda f: 50 - f["height"], group=lambda f: "no " + f["group"])]
    return [
        tables.train_table(tables.Table(frame, "people"), "group", settings, say=lambda line: None) for frame in frames
    ]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_results_come_together_or_not_at_all(tmp_path, monkeypatch):
    first, second = two_trainings()
    first.save(tmp_path)
    before = contents(tmp_path)
    for name, fails in (("fsync", (1, 3, 11)), ("rename", (1,))):
        real = getattr(os, name)
        for failing in fails:
            calls = itertools.count(1)

            def call(*arguments, real=real, calls=calls, failing=failing):
                return full() if next(calls) == failing else real(*arguments)

            with monkeypatch.context() as patch:
                patch.setattr(os, name, call)
                with pytest.raises(OSError, match="No space left on device"):
                    second.save(tmp_path)
            assert contents(tmp_path) == before
    (tmp_path / "report.html").unlink()
    (tmp_path / "report.html").mkdir()
    with pytest.raises(IsADirectoryError, match=r"report\.html is a folder"):
        second.save(tmp_path)
    (tmp_path / "report.html").rmdir()
    before.pop("report.html")
    assert contents(tmp_path) == before


def test_results_of_a_process_killed_among_them_are_put_in_place_by_the_next(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    first, second = two_trainings()
    table, real = tables.Table(people(30), "people"), os.replace
    told = {}
    for name, training in (("first", first), ("second", second)):
        training.save(tmp_path / name)
        told[name] = tables.predict_table(tmp_path / name, table).frame
    for last in (0, 2, 5):  # of six, by name: in front of the first, behind the model's
        folder, calls = tmp_path / str(last), itertools.count()
        shutil.copytree(tmp_path / "first", folder)

        def replace(path, target, folder=folder, calls=calls, last=last):
            if os.path.dirname(target) == str(folder) and next(calls) == last:
                raise Killed
            real(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            with pytest.raises(Killed):
                second.save(folder)
        assert any(path.name.endswith(".complete") for path in folder.iterdir())
        pd.testing.assert_frame_equal(tables.predict_table(folder, table).frame, told["second"])
        assert contents(folder).keys() == contents(tmp_path / "first").keys()


@pytest.mark.parametrize("name", ["pandas", "sklearn"])
def test_what_is_not_installed_is_named(table, tmp_path, capsys, monkeypatch, name):
    path = table(people())
    for module in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    assert train(path, "group", tmp_path / "out") == 1
    assert 'pip install "fastmlp[train]"' in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(capsys, shell):
    pytest.importorskip("shtab")
    assert run("completion", shell) == 0
    out = capsys.readouterr().out
    assert "train" in out
    assert "learning-rate" in out


@pytest.mark.parametrize("command", ["train", "predict", "digits", "compare", "info", "warmup", "completion"])
def test_each_help_has_an_example(capsys, command):
    assert run(command, "--help") == 0
    assert f"  fastmlp {command}" in capsys.readouterr().out
