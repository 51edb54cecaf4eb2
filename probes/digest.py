"""Results as bits: any result of an operator or a job becomes a `Tensor`, and a tensor has a 64-bit digest.

The digest is BLAKE2b (RFC 7693) with 8 bytes over dtype, shape and the little-endian bytes in C order, so equal digests
mean equal bits (two different tensors collide with probability 2**-64), and equal bits in another type or shape differ.
"""

import hashlib
import struct
import sys
from typing import Any, NamedTuple, Sequence, Tuple

DIGEST_BYTES = 8


class Tensor(NamedTuple):
    """The bits of one result. `data` is little-endian, C order; for text, `data` is UTF-8, items ended by newlines."""

    dtype: str  # numpy's kind and item size without byte order: f4 f8 c8 c16 i8 u1 b1 f2; bf2 is bfloat16; or "text"
    shape: Tuple[int, ...]
    data: bytes

    def digest(self) -> bytes:
        """The 64-bit digest of type, shape and bits."""
        header = "{}{}:".format(self.dtype, list(self.shape)).encode()
        state = hashlib.blake2b(header, digest_size=DIGEST_BYTES)
        state.update(self.data)
        return state.digest()


def tensor(result: Any) -> Tensor:
    """The tensor of a result: a numpy array or scalar, a torch tensor, bool, int (64 bit), float, or a sequence of one
    kind of these or of str; a larger int becomes text. Raises TypeError for anything else."""
    if hasattr(result, "untyped_storage"):
        return _from_torch(result)
    if hasattr(result, "dtype"):
        return _from_array(result)
    if isinstance(result, (bool, int, float, str)):
        return _from_sequence([result], ())
    if isinstance(result, (list, tuple)):
        return _from_sequence(result, (len(result),))
    raise TypeError("an operator gave {}, which has no bits to compare".format(type(result).__name__))


def _from_torch(result: Any) -> Tensor:
    """A torch tensor of any device; its bits come through numpy, which knows all of torch's types but bfloat16."""
    dense = result.detach().resolve_conj().resolve_neg().cpu().contiguous()
    kind = str(dense.dtype)
    if kind == "torch.bfloat16":
        bits = _from_array(dense.view(sys.modules["torch"].int16).numpy())
        return bits._replace(dtype="bf2")
    return _from_array(dense.numpy())


def _from_array(array: Any) -> Tensor:
    # tobytes() gives C order whatever the layout; byte order is normalised only where it must be.
    dtype = array.dtype
    if dtype.hasobject:
        raise TypeError("an operator gave an array of Python objects")
    if dtype.kind in "SU":
        return _from_sequence([str(item) for item in array.ravel().tolist()], array.shape)
    if sys.byteorder == "big" or dtype.byteorder == ">":
        array = array.astype(dtype.newbyteorder("<"))
    kind = "bf" if dtype.name == "bfloat16" else dtype.kind  # a type of jax's, which numpy knows as bytes
    return Tensor("{}{}".format(kind, dtype.itemsize), tuple(array.shape), array.tobytes())


def _from_sequence(items: Sequence[Any], shape: Tuple[int, ...]) -> Tensor:
    kinds = set(map(type, items))
    if kinds <= {float}:
        return Tensor("f8", shape, struct.pack("<{}d".format(len(items)), *items))
    if kinds <= {int, bool} and min(items) >= -(1 << 63) and max(items) < (1 << 63):
        return Tensor("i8", shape, struct.pack("<{}q".format(len(items)), *items))
    if kinds <= {str, int, bool}:
        return Tensor("text", shape, "".join(str(item) + "\n" for item in items).encode("utf-8", "surrogatepass"))
    raise TypeError("an operator gave a sequence of mixed types")
