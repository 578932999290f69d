"""The README's table of features, made from the rows of test_toolkit_parity.py: python tests/features.py --readme.

What scikit-learn's MLPClassifier and MLPRegressor and PyTorch have in its place is named below; test_features.py looks
each name up where they are installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

BEGIN = "<!-- features: begin, written by python tests/features.py --readme -->"
END = "<!-- features: end -->"
README = Path(__file__).resolve().parent.parent / "README.md"

#: Argument or method of sklearn.neural_network.MLPClassifier or MLPRegressor.
SKLEARN = {
    "Dense": "hidden_layer_sizes",
    "activations: linear": "activation",
    "activations: sigmoid": "activation",
    "activations: tanh": "activation",
    "activations: relu": "activation",
    "losses: MeanSquaredError": "loss",
    "losses: Poisson": "loss",
    "losses: BinaryCrossentropy": "fit",
    "losses: CategoricalCrossentropy": "fit",
    "losses: SparseCategoricalCrossentropy": "fit",
    "SGD": "solver",
    "Adam": "solver",
    "InverseTimeDecay": "learning_rate",
    "regularizers: L2": "alpha",
    "EarlyStopping": "early_stopping",
    "ReduceLROnPlateau": "learning_rate",
    "History": "loss_curve_",
    "sample_weight": "fit",
    "train_on_batch, test_on_batch, predict_on_batch": "partial_fit",
}

#: Path below `torch`.
TORCH = {
    "Dense": "nn.Linear",
    "Flatten": "nn.Flatten",
    "ReLU": "nn.ReLU",
    "LeakyReLU": "nn.LeakyReLU",
    "PReLU": "nn.PReLU",
    "ELU": "nn.ELU",
    "Softmax": "nn.Softmax",
    "Dropout": "nn.Dropout",
    "BatchNormalization": "nn.BatchNorm1d",
    "LayerNormalization": "nn.LayerNorm",
    "activations: linear": "nn.Identity",
    "activations: sigmoid": "sigmoid",
    "activations: hard_sigmoid": "nn.Hardsigmoid",
    "activations: tanh": "tanh",
    "activations: relu": "relu",
    "activations: relu6": "nn.ReLU6",
    "activations: leaky_relu": "nn.LeakyReLU",
    "activations: elu": "nn.ELU",
    "activations: selu": "nn.SELU",
    "activations: gelu": "nn.GELU",
    "activations: silu": "nn.SiLU",
    "activations: mish": "nn.Mish",
    "activations: softplus": "nn.Softplus",
    "activations: softsign": "nn.Softsign",
    "activations: exponential": "exp",
    "activations: softmax": "softmax",
    "activations: log_softmax": "log_softmax",
    "activations: swish": "nn.SiLU",
    "activations: step": "heaviside",
    "losses: MeanSquaredError": "nn.MSELoss",
    "losses: MeanAbsoluteError": "nn.L1Loss",
    "losses: Huber": "nn.HuberLoss",
    "losses: Poisson": "nn.PoissonNLLLoss",
    "losses: BinaryCrossentropy": "nn.BCELoss",
    "losses: CategoricalCrossentropy": "nn.CrossEntropyLoss",
    "losses: SparseCategoricalCrossentropy": "nn.CrossEntropyLoss",
    "losses: KLDivergence": "nn.KLDivLoss",
    "losses: CosineSimilarity": "nn.CosineEmbeddingLoss",
    "losses: Hinge": "nn.MultiLabelMarginLoss",
    "losses: CategoricalHinge": "nn.MultiMarginLoss",
    "SGD": "optim.SGD",
    "Adam": "optim.Adam",
    "AdamW": "optim.AdamW",
    "Nadam": "optim.NAdam",
    "Adamax": "optim.Adamax",
    "RMSprop": "optim.RMSprop",
    "Adagrad": "optim.Adagrad",
    "Adadelta": "optim.Adadelta",
    "clipnorm": "nn.utils.clip_grad_norm_",
    "global_clipnorm": "nn.utils.clip_grad_norm_",
    "clipvalue": "nn.utils.clip_grad_value_",
    "use_ema": "optim.swa_utils.AveragedModel",
    "weight_decay": "optim.AdamW",
    "ExponentialDecay": "optim.lr_scheduler.ExponentialLR",
    "PiecewiseConstantDecay": "optim.lr_scheduler.MultiStepLR",
    "PolynomialDecay": "optim.lr_scheduler.PolynomialLR",
    "CosineDecay": "optim.lr_scheduler.CosineAnnealingLR",
    "CosineDecayRestarts": "optim.lr_scheduler.CosineAnnealingWarmRestarts",
    "ReduceLROnPlateau": "optim.lr_scheduler.ReduceLROnPlateau",
    "RandomUniform": "nn.init.uniform_",
    "RandomNormal": "nn.init.normal_",
    "TruncatedNormal": "nn.init.trunc_normal_",
    "GlorotUniform": "nn.init.xavier_uniform_",
    "GlorotNormal": "nn.init.xavier_normal_",
    "HeUniform": "nn.init.kaiming_uniform_",
    "HeNormal": "nn.init.kaiming_normal_",
    "Orthogonal": "nn.init.orthogonal_",
    "Zeros": "nn.init.zeros_",
    "Ones": "nn.init.ones_",
    "Constant": "nn.init.constant_",
    "Identity": "nn.init.eye_",
    "a generator and steps_per_epoch": "utils.data.DataLoader",
}

# Options of optimizers, which have rows of their own in the table.
_OPTIONS = ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "gradient_accumulation_steps")


def features(rows) -> dict[tuple[str, str], list]:
    """(group, feature) -> its rows: a class's or function's, an optimizer's option's, or one's own."""
    found: dict[tuple[str, str], list] = {}
    for row in rows:
        name = row.name
        if row.group in ("training", "files", "own functions"):
            found.setdefault((row.group, name), []).append(row)
            continue
        base = re.match(r'"?([A-Za-z_][A-Za-z_0-9]*)', name)
        option = next((o for o in _OPTIONS if row.group == "optimizers" and re.search(rf"\b{o}=", name)), None)
        plain = base is not None and (base.group(1)[0].isupper() or row.group == "activations")
        if option and base.group(1) not in ("AdamW", "Lion"):
            found.setdefault((row.group, option), []).append(row)
        elif plain:
            found.setdefault((row.group, base.group(1)), []).append(row)
    return found


def _other(table: dict[str, str], group: str, feature: str) -> str:
    return table.get(f"{group}: {feature}", table.get(feature, "") if group not in ("metrics", "losses") else "")


def table(rows) -> str:
    """The table in Markdown."""
    lines = ["| | fastmlp | beside Keras 3 | scikit-learn's MLP | PyTorch |", "| --- | --- | --- | --- | --- |"]
    for (group, feature), own in features(rows).items():
        exact = sum(not row.differs for row in own)
        reasons = [row.differs for row in own if row.differs]
        beside = f"the same in {exact} case{'s' * (exact != 1)}" if exact else reasons[0]
        sklearn, torch = _other(SKLEARN, group, feature), _other(TORCH, group, feature)
        lines.append(
            f"| {group} | `{feature}` | {beside} | {f'`{sklearn}`' if sklearn else ''} | "
            f"{f'`{torch}`' if torch else ''} |"
        )  # fmt: skip
    return "\n".join(lines)


def block(rows) -> str:
    """What stands between the README's marks."""
    return "\n".join([
        f"{BEGIN}",
        f"<details><summary>All features, trained in real Keras and here by the tests in {len(rows)} cases</summary>",
        "",
        table(rows),
        "",
        "</details>",
        f"{END}",
    ])  # fmt: skip


def write(rows) -> None:
    """Put the block into the README."""
    content = README.read_text(encoding="utf-8")
    content = re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block(rows), content, flags=re.DOTALL)
    README.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    from test_toolkit_parity import ROWS

    if "--readme" in sys.argv:
        write(ROWS)
    else:
        print(table(ROWS))
