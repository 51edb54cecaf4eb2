"""A 64-bit digest of a tensor that its own device computes: exact integers, so it is the same on every device.

The bytes of a tensor in C order are little-endian words of 64 bits, and COLUMNS words are a row. The digest is BLAKE2b
with 8 bytes over dtype and shape, the sum of every row, the sum of every column of all rows, and the bytes after the
last whole row as they are, zeros appended to a multiple of 8. A sum mod 2**64 is the same in any order. Only sums
travel: 1 byte of 500, and 4 kB.

Nothing is multiplied, and so memory, not the processor, sets the pace: weights of their own for all words, as in a
multilinear hash, would take three times as long.

What collides: two different tensors of one dtype and shape whose differences cancel in every row and every column. So
never if one, two or three words differ; if four do, only at the corners of a rectangle, by d, -d, -d and d. Rounding
errors do not cancel so, nor do signs and other high bits, of which an even number vanishes from one sum but not from
those across it. COLUMNS is prime: what repeats itself in a tensor, such as its own rows, lies in other columns each
time, unless these take 509 words, too: then two rows of one-hot values may change places unseen. Whoever wants a
collision can make one; nobody has a reason to.
"""

import ctypes
import hashlib
import os
import sys
from functools import lru_cache
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Tuple, Union

from .digest import DIGEST_BYTES

COLUMNS = 509
"""Words of a row: 4 kB."""

ROW_BYTES = 8 * COLUMNS
"""A tensor of fewer bytes is digested as it is."""

_ALONE = 64
"""Rows that torch sums by one thread: fewer than 32,768 words, its GRAIN_SIZE (aten/src/ATen/TensorIterator.h)."""

_SOFT = 1
"""omp_pause_soft: what threads keep for themselves stays."""

_TILE = 127
"""Rows that numpy reads for one kind of sums and then, from a core's second cache, for the other: 517 kB."""

_KINDS = {"bool": "b1", "bfloat16": "bf2", "float16": "f2", "float32": "f4", "float64": "f8"}
_KINDS.update({"complex32": "c4", "complex64": "c8", "complex128": "c16"})
_KINDS.update(
    {"{}int{}".format(sign, 8 * size): (sign or "i") + str(size) for sign in ("", "u") for size in (1, 2, 4, 8)}
)


def kind(name: str) -> str:
    """How a report calls a type (`digest.Tensor.dtype`) that torch ("torch.float32") or numpy calls so."""
    name = name.rpartition(".")[2]
    return _KINDS.get(name, name)


def digests(tensors: Iterable[Any]) -> List[bytes]:
    """The digests of torch tensors of any devices. Raises TypeError for a tensor without bits."""
    pending = Pending()
    pending.take(tensors)
    return pending.finish()


class Pending:
    """Digests of torch tensors whose devices have been told to compute them and were not waited for."""

    def __init__(self) -> None:
        self._taken: List[Tuple[bytes, List[Union[bytes, _Piece]]]] = []  # of each tensor: header; sums, or where
        self._devices: Dict[Any, _Device] = {}

    def take(self, tensors: Iterable[Any]) -> None:
        """Digest the values that these tensors have now; they may change as soon as this returns. Many at once cost
        less than one by one. Raises TypeError for a tensor without bits."""
        torch: Any = sys.modules["torch"]
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch.no_grad():
            for tensor in tensors:
                pieces: List[Union[bytes, _Piece]] = []
                for dense in dense_of(torch, tensor):
                    if dense.is_conj() or dense.is_neg():
                        dense = dense.resolve_conj().resolve_neg()
                    dense = dense.contiguous()
                    if _is_here(dense):
                        pieces.extend(_sums_here(torch, dense))
                        continue
                    device = self._devices.get(dense.device)
                    if device is None:
                        device = self._devices[dense.device] = _Device(torch, dense.device)
                    rows = dense.numel() * dense.element_size() // ROW_BYTES
                    pieces.append(device.add(_words(torch, dense), rows))
                self._taken.append((_header(str(tensor.dtype), tuple(tensor.shape)), pieces))
            for device in self._devices.values():
                device.flush()

    def finish(self) -> List[bytes]:
        """The digests of all that was taken, in that order; one transfer from every device."""
        torch: Any = sys.modules["torch"]
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch.no_grad():
            data = {device: of_device.transferred() for device, of_device in self._devices.items()}
        found = []
        for header, pieces in self._taken:
            sums = [
                piece if isinstance(piece, bytes) else data[piece.device][8 * piece.start : 8 * piece.end]
                for piece in pieces
            ]
            found.append(_folded(header, sums))
        return found


class _Piece(NamedTuple):
    """Where the sums of a tensor stand among those of its device."""

    device: Any
    start: int
    end: int


class _Device:
    """The sums that one device has been told to compute."""

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch = torch
        self._device = device
        self._sums: List[Any] = []
        self._waiting: List[Any] = []  # sums and rests that are not among these vectors yet
        self._count = 0  # of all these

    def add(self, words: Any, rows: int) -> _Piece:
        """Have a vector of words summed, with so many rows, whose memory must stay as it is until `flush`; where its
        sums will be."""
        start = self._count
        sums = _sums_of_rows(words[: rows * COLUMNS].view(rows, COLUMNS)) if rows else []
        if len(words) > rows * COLUMNS:
            sums.append(words[rows * COLUMNS :])
        self._waiting.extend(sums)
        self._count += sum(map(len, sums))
        return _Piece(self._device, start, self._count)

    def flush(self) -> None:
        """Have what waits copied, in one go."""
        if self._waiting:
            self._sums.append(self._torch.cat(self._waiting))
            self._waiting = []

    def transferred(self) -> bytes:
        """The sums as bytes."""
        if not self._count:
            return b""
        there = self._torch.cat(self._sums).cpu()
        return ctypes.string_at(there.data_ptr(), 8 * len(there))


def digest_here(torch: Any, dense: Any) -> bytes:
    """The digest of a contiguous tensor of this process's memory. No mode of the program's sees what it calls."""
    return _folded(_header(str(dense.dtype), tuple(dense.shape)), _sums_here(torch, dense))


def _is_here(dense: Any) -> bool:
    return bool(dense.is_cpu)


def _sums_here(torch: Any, dense: Any) -> Sequence[bytes]:
    """What is digested of a contiguous tensor of this process's memory, which torch sums by as many threads as the
    program lets it use."""
    count, address = dense.numel() * dense.element_size(), dense.data_ptr()
    if count < ROW_BYTES:
        return (_padded(ctypes.string_at(address, count)),) if count else ()
    rows = count // ROW_BYTES
    offset, odd = divmod(dense.storage_offset() * dense.element_size(), 8)
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():  # integers have no gradient to disable
        matrix = torch.empty(0, dtype=torch.int64, device="cpu")
        if odd or address % 8:
            matrix = matrix.resize_(rows, COLUMNS)
            ctypes.memmove(matrix.data_ptr(), address, rows * ROW_BYTES)
        else:
            matrix.set_(dense.untyped_storage(), offset, (rows, COLUMNS), (COLUMNS, 1))
        found = _sums_of_rows(matrix) if rows <= _ALONE or _threads_end(torch) else _sums_alone(torch, matrix)
        sums = [ctypes.string_at(vector.data_ptr(), 8 * len(vector)) for vector in found]
    return (*sums, _padded(ctypes.string_at(address + rows * ROW_BYTES, count - rows * ROW_BYTES)))


def _sums_of_rows(matrix: Any) -> List[Any]:
    """The sums of every row and of every column, as vectors."""
    return [matrix.sum(1), matrix.sum(0)]


def digests_numpy(arrays: Iterable[Any]) -> List[bytes]:
    """The digests of numpy arrays: those of torch tensors of the same type, shape and bits. Raises TypeError for an
    array without bits."""
    numpy: Any = sys.modules["numpy"]
    found = []
    for array in arrays:
        dtype = array.dtype
        if dtype.hasobject or dtype.names or dtype.kind in "SUMm":
            raise TypeError("an array of {} has no bits to compare".format(dtype.kind))
        if dtype.byteorder == ">":
            array = array.astype(dtype.newbyteorder("<"))
        octets = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8)
        found.append(_folded(_header(dtype.name, array.shape), _sums_numpy(numpy, octets)))
    return found


def _sums_alone(torch: Any, matrix: Any) -> List[Any]:
    """The same, by no other thread."""
    of_rows, of_columns = [], torch.zeros(COLUMNS, dtype=torch.int64, device="cpu")
    for part in matrix.split(_ALONE):
        of_rows.append(part.sum(1))
        of_columns += part.sum(0)
    return [torch.cat(of_rows), of_columns]


@lru_cache(maxsize=1)
def _threads_end(torch: Any) -> bool:
    """Whether torch's threads end before this process forks, which they are made to from now on.

    A forked child has none of them, but libgomp waits for them there, for ever. A program that forks before it computes
    anything large may not come to that because it is recorded. Source: OpenMP 5.0, omp_pause_resource_all.
    """
    try:
        library = ctypes.CDLL(os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cpu.so"))
        pause = library.omp_pause_resource_all
    except (OSError, AttributeError):  # an older one, or another system's
        return False
    os.register_at_fork(before=lambda: pause(_SOFT))
    return True


def _padded(rest: bytes) -> bytes:
    return rest + bytes(-len(rest) % 8)


def _sums_numpy(numpy: Any, octets: Any) -> Sequence[bytes]:
    """What is digested of a vector of bytes."""
    rows = octets.size // ROW_BYTES
    rest = _padded(octets[rows * ROW_BYTES :].tobytes())
    if not rows:
        return (rest,)
    matrix = octets[: rows * ROW_BYTES].view("<i8").reshape(rows, COLUMNS)
    of_rows = numpy.empty(rows, "<i8")
    of_tiles = numpy.empty((-(-rows // _TILE), COLUMNS), "<i8")
    for tile, sums in enumerate(of_tiles):
        part = slice(tile * _TILE, (tile + 1) * _TILE)
        numpy.add.reduce(matrix[part], 0, None, sums)
        numpy.add.reduce(matrix[part], 1, None, of_rows[part])
    return (of_rows.tobytes(), numpy.add.reduce(of_tiles).tobytes(), rest)


@lru_cache(maxsize=4096)
def _header(name: str, shape: Tuple[int, ...]) -> bytes:
    return "{}{}:".format(kind(name), list(shape)).encode()


def _folded(header: bytes, sums: Iterable[bytes]) -> bytes:
    found = hashlib.blake2b(header, digest_size=DIGEST_BYTES)
    for part in sums:
        found.update(part)
    return found.digest()


def dense_of(torch: Any, tensor: Any) -> List[Any]:
    """The strided tensors that hold the bits of any tensor; most are one themselves."""
    if tensor.is_nested or tensor.is_quantized or tensor.is_meta:
        raise TypeError("a nested, quantized or meta tensor has no bits to compare")
    if hasattr(tensor, "__tensor_flatten__"):  # torch's protocol of tensors that wrap others, as a DTensor
        if hasattr(tensor, "trigger_wait"):  # a collective operation gives it, perhaps later
            tensor.trigger_wait()
        parts = [getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]]  # a DTensor's mesh is one, too
        return [dense for part in parts if isinstance(part, torch.Tensor) for dense in dense_of(torch, part)]
    if tensor.layout == torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout != torch.strided:
        raise TypeError("a tensor of layout {} has no bits to compare".format(tensor.layout))
    return [tensor]


def _words(torch: Any, dense: Any) -> Any:
    """The bytes of a contiguous tensor as a vector of words; a copy only where it must be one."""
    dense = dense.view(-1)
    if dense.stride(0) != 1:  # of none or one element, any is contiguous
        dense = dense.as_strided(dense.shape, (1,))
    size = dense.element_size()
    octets = size * len(dense)
    if octets % 8 == 0 and size * dense.storage_offset() % 8 == 0:
        return dense.view(torch.int64)
    words = torch.zeros((octets + 7) // 8, dtype=torch.int64, device=dense.device)
    words.view(torch.uint8)[:octets].copy_(dense.view(torch.uint8))
    return words
