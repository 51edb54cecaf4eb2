"""A 64-bit digest of a tensor that its own device computes: exact integers, so it is the same on every device.

The bytes of a tensor in C order, zeros appended to a multiple of 4, are little-endian words x[0], x[1] ... of 32 bits,
read as signed. Every block of BLOCK words (the last one may be shorter) has the sum

    s = w[0]*x[0] + w[1]*x[1] + ...    mod 2**64        w: what SplitMix64 gives from seed 0, each with its last bit set

and the digest is BLAKE2b with 8 bytes over dtype, shape and the sums. A sum mod 2**64 is the same in any order. Only
sums travel, 8 bytes for 16 kB. This is the multilinear hash (Lemire and Kaser, "Strongly universal string hashing is
fast", The Computer Journal 2014) with fixed weights: the bounds hold for tensors that nobody chose against them.

What collides: two different tensors of one dtype and shape, if the sums of every block in which they differ are equal.
If one word differs, never: its weight is odd and the difference below 2**32. If more do, and 2**t is the largest power
of two that divides all the differences, 1 in 2**(63-t): 2**-63 where the last bit of one differs, as after rounding;
2**-40 where values of f4 are twice as large (t is 23); 2**-32 at worst, where only the signs of f4 differ (t is 31).
Words of 64 bits would be faster, but two flipped signs would then often give the sum of none. A second pass over the
sums cannot bring back what is lost in them, and second sums would cost as much as the first: for so rare a case not
worth it. Zeros of another length have another shape.
"""

import concurrent.futures
import contextlib
import ctypes
import functools
import hashlib
import itertools
import os
import sys
from functools import lru_cache
from typing import Any, Dict, Iterable, List, NamedTuple, Tuple, Union

from .digest import DIGEST_BYTES

BLOCK = 4096
"""Words of a block. Its weights, 32 kB, stay in a core's first cache."""

_SHARE = 1 << 17
"""Words of a CPU's tensor for which another thread is worth its call."""

_AWAY = 1 << 23
"""Words at a time on another device: 64 MB are needed there while they are multiplied."""

_TOGETHER = 256
"""Pieces shorter than a block that are summed at once. Their weights, 8 MB at most, are kept for the next time."""

_MASK = (1 << 64) - 1

_KINDS = {"bool": "b1", "bfloat16": "bf2", "float16": "f2", "float32": "f4", "float64": "f8"}
_KINDS.update({"complex32": "c4", "complex64": "c8", "complex128": "c16"})
_KINDS.update(
    {"{}int{}".format(sign, 8 * size): (sign or "i") + str(size) for sign in ("", "u") for size in (1, 2, 4, 8)}
)


@lru_cache(maxsize=None)
def weights() -> Tuple[int, ...]:
    """The weights as signed 64-bit integers. SplitMix64: Steele, Lea and Flood, OOPSLA 2014."""
    found = []
    for index in range(1, BLOCK + 1):
        word = index * 0x9E3779B97F4A7C15 & _MASK
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        word = (word ^ word >> 27) * 0x94D049BB133111EB & _MASK
        word = (word ^ word >> 31) | 1
        found.append(word - (word >> 63 << 64))
    return tuple(found)


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
        numpy: Any = sys.modules.get("numpy")
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch.no_grad():
            for tensor in tensors:
                pieces: List[Union[bytes, _Piece]] = []
                for dense in dense_of(torch, tensor):
                    words = _words(torch, dense)
                    if numpy and words.is_cpu:
                        pieces.append(_sums(numpy, numpy.asarray(_Memory(words)), torch.get_num_threads()))
                        continue
                    device = self._devices.get(words.device)
                    if device is None:
                        device = self._devices[words.device] = _Device(torch, words.device)
                    device.add(words, pieces)
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
                piece if isinstance(piece, bytes) else data[piece.device][piece.long][8 * piece.start : 8 * piece.end]
                for piece in pieces
            ]
            found.append(_folded(header, b"".join(sums)))
        return found


class _Piece(NamedTuple):
    """Where the sums of a piece of a tensor stand among those of its device: of whole blocks, or of what is shorter."""

    device: Any
    long: bool
    start: int
    end: int


class _Memory:
    """A vector of words of a CPU's for numpy, which keeps it alive: what torch itself gives to numpy, it never again
    resizes for the program."""

    def __init__(self, words: Any) -> None:
        self._words = words
        address = words.data_ptr()
        self.__array_interface__ = {
            "version": 3,
            "typestr": "<i4",
            "shape": tuple(words.shape),
            "data": (address, True),
        }


class _Device:
    """The sums that one device has been told to compute."""

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch = torch
        self._device = device
        self._long: List[Any] = []  # vectors of sums
        self._longs = 0  # sums in them
        self._short: List[Any] = []
        self._shorts = 0
        self._waiting: List[Any] = []  # short pieces that are not among these vectors yet
        self._lengths: List[int] = []  # of these

    def add(self, words: Any, pieces: List[Union[bytes, _Piece]]) -> None:
        """Have a vector of words summed; say where its sums will be."""
        count = words.numel()
        blocks, rest = divmod(count, BLOCK)
        if blocks:
            self._sum_blocks(words[: count - rest].view(blocks, BLOCK))
            pieces.append(_Piece(self._device, True, self._longs, self._longs + blocks))
            self._longs += blocks
        if rest:
            self._waiting.append(words[count - rest :] if blocks else words)
            self._lengths.append(rest)
            pieces.append(_Piece(self._device, False, self._shorts, self._shorts + 1))
            self._shorts += 1
            if len(self._waiting) == _TOGETHER:
                self.flush()

    def _sum_blocks(self, matrix: Any) -> None:
        of_block = _weights_on(self._device)
        self._long.extend((chunk * of_block).sum(1) for chunk in matrix.split(_AWAY // BLOCK))

    def flush(self) -> None:
        """Have the short pieces summed, all in one go: their sums are differences of the running sum over all."""
        if not self._waiting:
            return
        of_pieces, ends = _layout(self._device, tuple(self._lengths))
        running = (self._torch.cat(self._waiting) * of_pieces).cumsum(0).index_select(0, ends)
        self._short.append(running.diff(prepend=running.new_zeros(1)))
        self._waiting, self._lengths = [], []

    def transferred(self) -> Dict[bool, bytes]:
        """The sums as bytes, those of whole blocks under true."""
        if not self._longs + self._shorts:
            return {}
        there = self._torch.cat(self._long + self._short).cpu()
        data = ctypes.string_at(there.data_ptr(), 8 * len(there))
        return {True: data[: 8 * self._longs], False: data[8 * self._longs :]}


@lru_cache(maxsize=8)
def _layout(device: Any, lengths: Tuple[int, ...]) -> Tuple[Any, Any]:
    """For short pieces one after another: the weight of every word, and where each piece has its last word."""
    torch: Any = sys.modules["torch"]
    of_block = _weights_on(device)
    ends = torch.tensor([end - 1 for end in itertools.accumulate(lengths)], device=device)
    return torch.cat([of_block[:length] for length in lengths]), ends


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
        if octets.size % 4:
            octets = numpy.concatenate([octets, numpy.zeros(-octets.size % 4, numpy.uint8)])
        found.append(_folded(_header(dtype.name, array.shape), _sums(numpy, octets.view(numpy.int32))))
    return found


def _sums(numpy: Any, words: Any, threads: int = 1) -> bytes:
    """The sums of a vector of words. Numpy multiplies and adds some thousand at a time, in memory of its own: less time
    of a processor than three calls of torch's, which has no product of two types and none of vectors of integers."""
    of_block = _weights_of(numpy)
    whole = words.size // BLOCK * BLOCK
    matrix = words[:whole].reshape(-1, BLOCK)
    parts = []
    shares = min(threads, words.size // _SHARE)
    if shares > 1:
        with contextlib.suppress(RuntimeError):  # the interpreter ends, and begins no more work
            each = functools.partial(numpy.einsum, "ij,j->i")
            parts = list(_pool(threads).map(each, numpy.array_split(matrix, shares), [of_block] * shares))
    parts = parts or [numpy.einsum("ij,j->i", matrix, of_block)]
    if whole < words.size:
        parts.append(numpy.einsum("j,j->", words[whole:], of_block[: words.size - whole]))
    return b"".join([part.astype("<i8").tobytes() for part in parts])


@lru_cache(maxsize=1)
def _pool(threads: int) -> Any:
    return concurrent.futures.ThreadPoolExecutor(threads)


os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of these threads


def digests_small(short: Iterable[Tuple[str, Tuple[int, ...], bytes]]) -> List[bytes]:
    """The digests of tensors of at most BLOCK words each, all in one go. Of each: torch's or numpy's name of its type,
    its shape, and its bytes."""
    numpy: Any = sys.modules["numpy"]
    padded = [(name, shape, data + bytes(-len(data) % 4)) for name, shape, data in short]
    lengths = numpy.array([len(data) // 4 for _, _, data in padded], dtype=numpy.int64)
    ends = numpy.cumsum(lengths)
    words = numpy.frombuffer(b"".join([data for _, _, data in padded]), dtype="<i4")
    places = numpy.arange(len(words)) - numpy.repeat(ends - lengths, lengths)
    running = numpy.concatenate([[0], numpy.cumsum(words * _weights_of(numpy)[places])])
    sums = (running[ends] - running[ends - lengths]).astype("<i8").tobytes()
    return [
        _folded(_header(name, shape), sums[8 * n : 8 * n + 8] if data else b"")
        for n, (name, shape, data) in enumerate(padded)
    ]


@lru_cache(maxsize=4096)
def _header(name: str, shape: Tuple[int, ...]) -> bytes:
    return "{}{}:".format(kind(name), list(shape)).encode()


def _folded(header: bytes, sums: bytes) -> bytes:
    return hashlib.blake2b(header + sums, digest_size=DIGEST_BYTES).digest()


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
    """The bytes of a strided tensor as a vector of words; a copy only where it must be one."""
    if dense.is_conj() or dense.is_neg():
        dense = dense.resolve_conj().resolve_neg()
    dense = (dense if dense.is_contiguous() else dense.contiguous()).view(-1)
    if dense.stride(0) != 1:  # of none or one element, any is contiguous
        dense = dense.as_strided(dense.shape, (1,))
    size = dense.element_size()
    if size % 4 == 0:
        return dense.view(torch.int32)
    octets = size * len(dense)
    if octets % 4 == 0 and size * dense.storage_offset() % 4 == 0:
        return dense.view(torch.int32)
    words = torch.zeros((octets + 3) // 4, dtype=torch.int32, device=dense.device)
    words.view(torch.uint8)[:octets].copy_(dense.view(torch.uint8))
    return words


@lru_cache(maxsize=None)
def _weights_of(numpy: Any) -> Any:
    return numpy.array(weights(), dtype=numpy.int64)


@lru_cache(maxsize=None)
def _weights_on(device: Any) -> Any:
    torch: Any = sys.modules["torch"]
    return torch.tensor(weights(), dtype=torch.int64, device=device)
