"""Named tuples handed from kernel to kernel as one pointer.

A plan and its buffers are tuples of two dozen arrays. Numba hands each over as its 150 numbers, and copies all of them
for every kernel that is put into another: the epoch's kernel alone took 7 s to compile. By reference it is one pointer,
from which a kernel reads the fields that it uses.
"""

from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, models, register_model

from ._jit import JIT


class Reference(types.Type):
    """Numba type of a pointer to a named tuple, whose fields are read as its own."""

    def __init__(self, target):
        self.target = target
        super().__init__(name=f"Reference({target})")


@register_model(Reference)
class _ReferenceModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, manager.lookup(fe_type.target).get_value_type().as_pointer())


@infer_getattr
class _Fields(AttributeTemplate):
    key = Reference

    def generic_resolve(self, reference, name):
        target = reference.target
        return target.types[target.fields.index(name)] if name in target.fields else None


@lower_getattr_generic(Reference)
def _read_field(context, builder, reference, pointer, name):
    index = reference.target.fields.index(name)
    value = builder.load(cgutils.gep_inbounds(builder, pointer, 0, index))
    return impl_ret_borrowed(context, builder, reference.target.types[index], value)


@intrinsic
def _reference(typingctx, fields):
    def codegen(context, builder, sig, args):
        return cgutils.alloca_once_value(builder, args[0])

    return Reference(fields)(fields), codegen


def _itself(fields):
    """Without the compiler everything is a reference."""
    return fields


#: reference(fields): a named tuple by reference, as long as the kernel runs that makes it.
reference = _reference if JIT else _itself
