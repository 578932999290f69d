"""The table that model.summary() prints, in Keras's form."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models import Sequential


def _size(count: int) -> str:
    """Bytes in a readable unit: 49.95 KB."""
    size, units = float(count), ["B", "KB", "MB", "GB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.2f} {units[0]}"


def table(model: Sequential) -> str:
    """Layers with output shape and number of parameters, and their sums."""
    rows = [("Layer (type)", "Output Shape", "Param #")]
    for layer in model.layers:
        shape = ", ".join(["None", *map(str, layer.output_shape or ())])
        rows.append((f"{layer.name} ({type(layer).__name__})", f"({shape})", f"{layer.count_params():,}"))
    widths = [max(len(row[i]) for row in rows) + 2 for i in range(3)]
    widths = [max(width, least) for width, least in zip(widths, (33, 24, 15))]

    def rule(left: str, middle: str, right: str, dash: str) -> str:
        return left + middle.join(dash * w for w in widths) + right

    def row(cells: tuple[str, str, str], bar: str) -> str:
        first, second, third = cells
        return bar + bar.join(
            [f" {first}".ljust(widths[0]), f" {second}".ljust(widths[1]), f"{third} ".rjust(widths[2])]
        ) + bar  # fmt: skip

    lines = [f'Model: "{model.name}"', rule("┏", "┳", "┓", "━"), row(rows[0], "┃"), rule("┡", "╇", "┩", "━")]
    for i, cells in enumerate(rows[1:]):
        lines += [rule("├", "┼", "┤", "─")] * (i > 0) + [row(cells, "│")]
    lines.append(rule("└", "┴", "┘", "─"))
    weights = {"Total": model.weights, "Trainable": model.trainable_weights,
               "Non-trainable": model.non_trainable_weights}  # fmt: skip
    for name, arrays in weights.items():
        count = sum(array.size for array in arrays)
        lines.append(f" {name} params: {count:,} ({_size(count * model.dtype.itemsize)})")
    return "\n".join(lines)
