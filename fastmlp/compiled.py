"""Networks inside compiled code of a user's own: what Sequential.as_njit returns.

Network   a frozen copy of the weights, in the table that kernels/frozen.py goes through
function  the function of it that @njit code calls, and Python too

The compiled function holds the network's address, which is another one in each process. Numba is told so
(add_dynamic_addr), and keeps no function that contains it in its disk cache, with a warning: a cached one would go on
with memory that is gone. The memory stays as long as any compiled code that was made with it (_hold).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_constant
from numba.extending import intrinsic, models, overload, register_model, typeof_impl

from .kernels import frozen as kernels
from .kernels._jit import JIT
from .kernels.activations import FORMS, FORWARD
from .kernels.by_address import address
from .kernels.plan import aligned_zeros, padded
from .saving.steps import Activation, Affine, LayerNormalization, PReLU, Scale, Step, steps_of

if TYPE_CHECKING:
    from .models import Sequential

#: Of the functions here; users' own take what they like.
OPTIONS = {"nogil": True, "error_model": "numpy"}

_numbers = itertools.count()


#: Where in its row of the table the place of each array of a step stands.
_COLUMNS = {
    kernels.AFFINE: (kernels.FIRST, kernels.BIAS),
    kernels.SCALE: (kernels.FIRST, kernels.SECOND),
    kernels.LAYER_NORMALIZATION: (kernels.FIRST, kernels.SECOND),
    kernels.PRELU: (kernels.FIRST,),
    kernels.NOTHING: (),
}


class Network:
    """Steps in the memory that kernels.frozen.predict_rows reads; nothing changes it.

    Args:
        steps: What predict does, see saving.steps.
        shape: Of a sample.
        dtype: Type in which it computes, float32 or float64.
    """

    def __init__(self, steps: Sequence[Step], shape: tuple[int, ...], dtype: np.dtype):
        self.steps, self.shape, self.dtype = tuple(steps), shape, dtype
        self.inputs, self.number = math.prod(shape), next(_numbers)
        rows = _rows(self.steps)
        widest = max(rows, key=lambda row: row.units)
        self.wide = padded(widest.units, dtype)
        self.widest = widest.layer, widest.units
        arrays: list[np.ndarray] = [np.zeros(self.wide)]
        offset, numbers, table = self.wide, list[float](), list[list[int]]()
        inputs = self.inputs
        for made in rows:
            row, places = padded(made.units, dtype), {}
            for column, array in zip(_COLUMNS[made.kind], made.arrays):
                stored = np.zeros((array.size // made.units, row))
                stored[:, : made.units] = array
                places[column] = offset
                arrays.append(stored.ravel())
                offset += stored.size
            cells = places | {
                kernels.KIND: made.kind,
                kernels.INPUTS: inputs,
                kernels.UNITS: made.units,
                kernels.ROW: row,
                kernels.OWN_NUMBERS: len(numbers),
                kernels.NUMBERS: len(numbers) + len(made.numbers),
            }
            numbers += made.numbers
            if made.activation is not None or made.kind == kernels.AFFINE:
                # Behind a product there is always one, since it adds the bias.
                form = made.activation or Activation(made.layer, made.units, "linear", ())
                cells[kernels.ACTIVATION] = address(FORMS[form.name][0], FORWARD, dtype.name)
                numbers += form.numbers
            table.append([cells.get(column, 0) for column in range(kernels.COLUMNS)])
            inputs = made.units
        self.units = inputs
        self.table = np.array(table, np.int64)
        self.constants = np.array([*numbers, 0.0])  # never empty: an empty array has no address
        self.theta = aligned_zeros(offset, dtype)
        with np.errstate(over="ignore"):
            self.theta[:] = np.concatenate(arrays)
        head = [len(table), self.constants.size, self.theta.size, self.wide]
        self.head = np.concatenate([head, self.table.ravel()]).astype(np.int64)
        self.is_finite = bool(np.isfinite(self.theta).all())

    def __reduce__(self) -> Any:
        """Addresses are this process's: another one makes its own."""
        return Network, (self.steps, self.shape, self.dtype)

    def addresses(self) -> list[int]:
        """Where its arrays lie, in the order that predict_at takes them."""
        return [array.ctypes.data for array in (self.head, self.constants, self.theta)]


@dataclass
class _Row:
    """A step with the activation behind it."""

    layer: str
    units: int
    kind: int = kernels.NOTHING
    arrays: tuple[np.ndarray, ...] = ()
    numbers: tuple[float, ...] = ()
    activation: Activation | None = None


def _rows(steps: Sequence[Step]) -> list[_Row]:
    rows: list[_Row] = []
    for step in steps:
        if isinstance(step, Activation):
            if not rows or rows[-1].activation is not None:
                rows.append(_Row(step.layer, step.units))
            rows[-1].activation = step
        else:
            rows.append(_Row(step.layer, step.units, *_operation(step)))
    return rows


def _operation(step: Step) -> tuple[int, tuple[np.ndarray, ...], tuple[float, ...]]:
    """Kind, arrays and numbers."""
    if isinstance(step, Affine):
        return kernels.AFFINE, (step.weights, step.bias), ()
    if isinstance(step, Scale):
        return kernels.SCALE, (step.factor, step.offset), ()
    if isinstance(step, LayerNormalization):
        return kernels.LAYER_NORMALIZATION, (step.gamma, step.beta), (step.epsilon, float(step.rms_scaling))
    if isinstance(step, PReLU):
        return kernels.PRELU, (step.slope,), ()
    raise ValueError(f"layer {step.layer!r} is a {type(step).__name__}, which compiled functions don't know")


# ---------------------------------------------------------------------------------------------- what compiled code sees


class NetworkType(types.Type):
    """Numba's type of one network. All of it is known when code is compiled, so its value is nothing."""

    def __init__(self, network: Network):
        self.network = network
        super().__init__(name=f"fastmlp.Network({network.number})")


@typeof_impl.register(Network)
def _typeof(network: Network, context: Any) -> NetworkType:
    return NetworkType(network)


@register_model(NetworkType)
class _NetworkModel(models.OpaqueModel):
    pass


@lower_constant(NetworkType)
def _constant(context: Any, builder: Any, kind: NetworkType, value: Network) -> Any:
    return context.get_dummy_value()


def _hold(context: Any, network: Network) -> None:
    """Keep the network's memory as long as the machine code that is being made, which holds its address.

    Code that calls this one, and so contains a copy of it, refers to its library in turn.
    """
    library = context.active_code_library
    if not hasattr(library, "fastmlp_networks"):
        library.fastmlp_networks = []
    library.fastmlp_networks.append(network)


def _element(dtype: Any) -> Any:
    """The type that the kernel reads: a truth value is a byte of 0 or 1."""
    return types.uint8 if dtype == types.boolean else dtype


def _entry(network: Network, x: Any, out: Any) -> tuple[int, tuple[Any, ...]]:
    """Address and arguments of the kernel for these element types; it is compiled or loaded if it has not been."""
    theta = numba.from_dtype(network.dtype)
    arguments = (types.CPointer(types.int64), types.CPointer(types.float64), types.CPointer(theta),
                 types.CPointer(_element(x)), types.int64, types.CPointer(out))  # fmt: skip
    kernels.predict_at.compile(arguments)
    made = kernels.predict_at.overloads[arguments]
    return made.library.get_pointer_to_function(made.fndesc.llvm_func_name), arguments


@intrinsic
def _call(typingctx: Any, network: Any, x: Any, n: Any, out: Any) -> Any:
    """Through the network: n samples that begin where x does, C-ordered, into what begins where out does."""
    frozen = network.network
    entry, passed = _entry(frozen, x.dtype, out.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _hold(context, frozen)
        pointers = [context.add_dynamic_addr(builder, place, "a network's memory") for place in frozen.addresses()]
        for kind, array in ((x, args[1]), (out, args[3])):
            pointers.append(context.make_array(kind)(context, builder, array).data)
        pointers.insert(4, args[2])
        given = [
            builder.bitcast(pointer, context.get_value_type(kind)) if isinstance(kind, types.CPointer) else pointer
            for pointer, kind in zip(pointers, passed)
        ]
        function = context.call_conv.get_function_type(types.none, passed)
        target = builder.bitcast(context.add_dynamic_addr(builder, entry, "a kernel of fastmlp"), function.as_pointer())
        context.call_conv.call_function(builder, target, types.none, passed, given)
        return context.get_dummy_value()

    return types.void(network, x, types.int64, out), codegen


@intrinsic
def _one_sample(typingctx: Any, network: Any) -> Any:
    """Array on the stack for one sample, in the network's type."""
    frozen = network.network
    made = types.Array(numba.from_dtype(frozen.dtype), 1, "C")

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = context.get_value_type(types.intp)
        space = cgutils.alloca_once(builder, context.get_data_type(made.dtype), size=frozen.inputs)
        return kernels.array_of(context, builder, made, space, word(frozen.inputs))

    return made(network), codegen


# ---------------------------------------------------------------------------------------------- shapes


def _shapes(network: Network) -> str:
    flat, shape, k = f"({network.inputs},)", str(network.shape), network.inputs
    batch = f"(n, {', '.join(map(str, network.shape))})"
    return f"{flat} or a batch {batch}" if len(network.shape) == 1 else f"{shape} or {flat}, {k} numbers, or {batch}"


def _is_batch(network: Network, dimensions: int, problem: type[Exception]) -> bool:
    """Whether an array of so many dimensions holds several samples."""
    if dimensions == len(network.shape) + 1:
        return True
    if dimensions in (1, len(network.shape)):
        return False
    raise problem(f"x must be a sample of shape {_shapes(network)}, got an array of {dimensions} dimensions")


def _bad_x(network: Network) -> str:
    return f"x has a shape that doesn't fit the network: it takes a sample of shape {_shapes(network)}"


def _bad_out(network: Network, is_batch: bool) -> str:
    expected = f"(n, {network.units}), n as of x" if is_batch else f"({network.units},)"
    return f"out has a shape that doesn't fit: it must be {expected}"


def predict_with(network: Network, x: Any, out: Any = None) -> Any:
    """Output of the network; see Sequential.as_njit. This is the form without the compiler."""
    if not isinstance(x, np.ndarray):
        raise TypeError(f"x must be an array, got {type(x).__name__}")
    is_batch = _is_batch(network, x.ndim, TypeError)
    shape = x.shape[1:] if is_batch else x.shape
    if shape != network.shape and (is_batch or shape != (network.inputs,)):
        raise ValueError(_bad_x(network))
    n = len(x) if is_batch else 1
    expected = (n, network.units) if is_batch else (network.units,)
    made = np.empty(expected, network.dtype) if out is None else out
    if made.shape != expected:
        raise ValueError(_bad_out(network, is_batch))
    floats = np.zeros(2 * network.wide + kernels.BLOCK, network.dtype)
    flat = np.ascontiguousarray(x).reshape(-1)
    result = made.reshape(-1)
    kernels.predict_rows(network.table, network.constants, network.theta, flat, n, floats, result)
    return made if out is None else None


def _check_x(network: Network, x: Any) -> None:
    if not isinstance(x, types.Array):
        raise TypingError(f"x must be an array of numbers, got {x}; for instance np.array([...], np.float32)")
    if not isinstance(x.dtype, (types.Integer, types.Boolean)) and x.dtype not in (types.float32, types.float64):
        raise TypingError(f"x must hold float32, float64, integers or truth values, got {x.dtype}")
    strided = x.layout != "C"
    if strided and (x.ndim > 2 or (x.ndim == 2 and len(network.shape) == 2)):
        raise TypingError(
            f"x must be C-ordered where it has {x.ndim} dimensions, got {x}; give np.ascontiguousarray(x)"
        )
    if strided and network.inputs > kernels.WIDEST:
        raise TypingError(f"x must be C-ordered where it has more than {kernels.WIDEST} numbers, got {x}; give "
                          "np.ascontiguousarray(x)")  # fmt: skip


def _check_out(network: Network, out: Any, is_batch: bool) -> None:
    wanted = 2 if is_batch else 1
    if not (
        isinstance(out, types.Array)
        and out.ndim == wanted
        and out.layout == "C"
        and out.mutable
        and out.dtype in (types.float32, types.float64)
    ):
        raise TypingError(
            f"out must be a C-ordered array of {wanted} dimension{'s' * (wanted > 1)} of float32 or float64, not "
            f"readonly, got {out}"
        )


@overload(predict_with)
def _predict_with(network, x, out=None):  # Numba compares it with what it returns
    if not isinstance(network, NetworkType):
        return None
    frozen = network.network
    _check_x(frozen, x)
    is_batch = _is_batch(frozen, x.ndim, TypingError)
    shape, k, units, dtype = frozen.shape, frozen.inputs, frozen.units, frozen.dtype.type
    full = (x.ndim - is_batch) == len(shape)
    expected = shape if full else (k,)
    bad_x, bad_out = _bad_x(frozen), _bad_out(frozen, is_batch)
    is_ordered = x.layout == "C"
    returns = out is None or isinstance(out, (types.NoneType, types.Omitted))
    if not returns:
        _check_out(frozen, out, is_batch)

    if is_batch and is_ordered:

        def fill(network, x, out):
            if x.shape[1:] != expected:
                raise ValueError(bad_x)
            if out.shape != (x.shape[0], units):
                raise ValueError(bad_out)
            _call(network, x, x.shape[0], out)

    elif is_batch:

        def fill(network, x, out):
            if x.shape[1:] != expected:
                raise ValueError(bad_x)
            if out.shape != (x.shape[0], units):
                raise ValueError(bad_out)
            row = _one_sample(network)
            for i in range(x.shape[0]):
                for p in range(k):
                    row[p] = x[i, p]
                _call(network, row, 1, out[i])

    elif is_ordered:

        def fill(network, x, out):
            if x.shape != expected:
                raise ValueError(bad_x)
            if out.shape != (units,):
                raise ValueError(bad_out)
            _call(network, x, 1, out)

    else:

        def fill(network, x, out):
            if x.shape != expected:
                raise ValueError(bad_x)
            if out.shape != (units,):
                raise ValueError(bad_out)
            row = _one_sample(network)
            for p in range(k):
                row[p] = x[p]
            _call(network, row, 1, out)

    # Put into its caller: a call counts the references of its arrays by atomic instructions, 60 ns for each sample.
    filled = numba.njit(**OPTIONS, inline="always")(fill)
    if not returns:
        return lambda network, x, out=None: filled(network, x, out)
    if is_batch:

        def made(network, x, out=None):
            result = np.empty((x.shape[0], units), dtype)
            filled(network, x, result)
            return result

    else:

        def made(network, x, out=None):
            result = np.empty(units, dtype)
            filled(network, x, result)
            return result

    return made


def function(model: Sequential) -> Callable[..., Any]:
    """See Sequential.as_njit."""
    model._need_built()
    network = frozen(model)

    def predict(x, out=None):
        return predict_with(network, x, out)

    return numba.njit(**OPTIONS)(predict) if JIT else predict


def frozen(model: Sequential) -> Network:
    """The model as it is now."""
    # Multiplied into a product's weights, a factor may leave the range of float32, which each of the two is in.
    for fold in (True, False):
        network = Network(steps_of(model, fold=fold), model._shape, model.dtype)
        if network.wide > kernels.WIDEST:
            layer, units = network.widest
            raise ValueError(
                f"layer {layer!r} has {units:,} numbers of a sample; up to {kernels.WIDEST:,} fit the stack of a "
                "compiled function: use predict"
            )
        if network.is_finite:
            return network
    raise ValueError(f"model {model.name!r} has weights that are NaN or infinite; train it anew")
