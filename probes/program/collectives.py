"""Collective operations of torch.distributed, as far as they are known by their names and schemas: what they fill, and
what is there only when the program has waited for it. `dispatch` makes their rows.
"""

from typing import Any, Dict, NamedTuple, Optional, Tuple

from .lineage import Rows

_FILLED = frozenset(("tensors", "output", "outputs", "output_tensor", "output_tensors", "output_lists"))
"""Arguments that a collective operation changes without saying so; "tensors" it reads as well."""

_NOTHING_FILLED = frozenset("c10d::" + name for name in ("send", "barrier", "monitored_barrier_", "check_for_nan"))

WAITS = frozenset("_c10d_functional::" + name for name in ("wait_tensor", "_wrap_tensor_autograd"))
"""What gives what it is given, when it is there or to be waited for later."""

FILLS_PART = frozenset(("fsdp::all_gather_copy_in",))
"""What copies into a part of memory that is not all written yet, and gives this part first."""


class Begun(NamedTuple):
    """A result of a collective operation that nobody has read yet. Of its memory, which it does not keep alive, others
    read and write the rest meanwhile."""

    kind: Any  # of the operator, as `dispatch` knows it
    name: str
    dtype: Any
    place: Any  # offset, shape and strides
    extent: range  # of bytes
    rows: Rows  # that it comes from
    where: Tuple[str, str]  # module and line


def begins(name: str) -> bool:
    """Whether what an operator changes or gives is there only when the program has waited for it."""
    return name.startswith(("c10d::", "_c10d_functional::")) and name not in _NOTHING_FILLED | WAITS


def fills(schema: Any) -> Optional[Dict[Any, bool]]:
    """The arguments that an operation changes without saying so, by place and by name: whether they are read as well.
    None for an operator whose schema says what it changes."""
    if not (schema.name.startswith("c10d::") and begins(schema.name)):
        return None
    found: Dict[Any, bool] = {}
    for place, one in enumerate(schema.arguments):
        if one.name in _FILLED:
            found[place] = found[one.name] = one.name == "tensors" and "recv" not in schema.name
    return found


def extent(tensor: Any) -> range:
    """The bytes of its memory from a tensor's first to its last."""
    size, begin = tensor.element_size(), tensor.storage_offset()
    last = sum((count - 1) * stride for count, stride in zip(tensor.shape, tensor.stride())) if tensor.numel() else -1
    return range(begin * size, (begin + last + 1) * size)
