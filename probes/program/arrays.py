"""What rows keep of arrays that numpy can see: its own, those of JAX and of others that give themselves as arrays."""

import sys
from typing import Any, Dict

from .. import device_digest
from ..digest import Tensor
from ..sketch import SAMPLES, observe
from .recorder import Bits, plain_bits

_SKETCHED = 1 << 16
"""Elements up to which a sketch is made: its plan takes 200 times as many bytes."""


def bits(value: Any) -> Bits:
    """The bits of an array, of a torch tensor, of a number, or of a sequence of numbers. Raises TypeError for what has
    none."""
    if hasattr(value, "untyped_storage"):
        from . import tensors

        with tensors.aside():
            return tensors.bits(value)
    if isinstance(value, (bool, int, float)):
        return plain_bits(value)
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        return plain_bits(value)
    array = value if isinstance(value, numpy.ndarray) else numpy.asarray(value)
    if array.dtype.kind in "SU":  # names of classes, of columns: what they are is nobody's business
        text = plain_bits(array)
        return text._replace(sampled=lambda sketched: {})
    return of_array(numpy, array)


def of_array(numpy: Any, array: Any) -> Bits:
    """The bits of a numpy array. Raises TypeError where it has none."""
    kind = device_digest.kind(array.dtype.name)
    (digest,) = device_digest.digests_numpy([array])

    def sampled(sketched: bool) -> Dict[str, Any]:
        flat = array.reshape(-1)
        if not sketched or flat.size > _SKETCHED:
            flat = flat[[k * flat.size // SAMPLES for k in range(SAMPLES)]] if flat.size > SAMPLES else flat
        flat = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
        return dict(observe(Tensor(kind, flat.shape, flat.tobytes())), shape=list(array.shape))

    return Bits(kind, tuple(array.shape), digest, sampled)
