"""Torch's digests against numpy's, which `test_device_digest.py` compares with the definition: runs where torch is."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import subprocess
import sys
import unittest.mock
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from probes import device_digest
from probes.device_digest import COLUMNS, ROW_BYTES, Pending, digests, digests_numpy

REAL = [torch.float16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32]
TYPES = [*REAL, torch.int64, torch.uint16, torch.uint32, torch.uint64, torch.complex64, torch.complex128]
OCTETS = [0, 1, 2, 3, 4, 6, 8, 64, 100, *(ROW_BYTES + more for more in (-8, -2, 0, 2, 8)), 8 * ROW_BYTES + 16]
LARGE = 1500 * ROW_BYTES
"""Bytes that more than one thread sums, if it may."""


def made(dtype: Any, octets: int, source: random.Random) -> Any:
    """A tensor of any bits, NaN and denormal numbers among them; a bool has only two values."""
    size = torch.tensor([], dtype=dtype).element_size()
    data = bytearray(source.randbytes(octets // size * size))
    if dtype == torch.bool:
        data = bytearray(octet & 1 for octet in data)
    return torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)


def layouts(tensor: Any) -> list[Any]:
    """The same elements laid out otherwise, and others of theirs."""
    found = [tensor, tensor[1:], tensor[::2], tensor.view(1, -1).expand(3, -1), tensor.view(-1, 1)]
    if len(tensor):
        found += [tensor[0], tensor[-1:]]
    if len(tensor) % 8 == 0:
        found += [
            tensor.view(2, 2, -1).permute(2, 0, 1),
            tensor.view(2, 2, 2, -1).to(memory_format=torch.channels_last),
        ]
    return found


def expected(tensors: list[Any]) -> list[bytes]:
    return digests_numpy([tensor.detach().resolve_conj().resolve_neg().numpy() for tensor in tensors])


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """All is computed as on another device."""
    with unittest.mock.patch.object(device_digest, "_is_here", return_value=False):
        yield


def test_types_and_layouts() -> None:
    source = random.Random(7)
    tensors = [one for dtype in TYPES for octets in OCTETS for one in layouts(made(dtype, octets, source))]
    assert len(tensors) > 1000
    assert len({tensor.dtype for tensor in tensors}) == len(TYPES)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        assert digests(tensors) == expected(tensors)
    assert [digests([tensor])[0] for tensor in tensors[::97]] == expected(tensors[::97])
    want = expected(tensors)
    with elsewhere():
        assert digests(tensors) == want
        assert [digests([tensor])[0] for tensor in tensors[::97]] == want[::97]
    assert digests([]) == []


def test_conjugates_and_negative_views() -> None:
    values = torch.complex(torch.arange(5.0), torch.arange(1.0, 6.0))
    views = [values.conj(), values.conj().imag, values.imag, values.conj()[1:]]
    assert [view.is_conj() for view in views] == [True, False, False, True]
    assert [view.is_neg() for view in views] == [False, True, False, False]
    assert digests(views) == expected(views)


def test_types_that_numpy_lacks() -> None:
    values = torch.randn(2 * ROW_BYTES + 3, generator=torch.Generator().manual_seed(1))
    for dtype, name in ((torch.bfloat16, "bf2"), (torch.float8_e4m3fn, "float8_e4m3fn")):
        tensor = values.to(dtype)
        size = tensor.element_size()
        data = tensor.view(torch.uint8).numpy()
        seen = device_digest._header("torch." + str(dtype).rpartition(".")[2], (len(tensor),))
        assert seen == f"{name}[{len(tensor)}]:".encode()
        data = numpy.concatenate([data, numpy.zeros(-len(data) % 8, "u1")]).tobytes()
        (same,) = digests_numpy([numpy.frombuffer(data, "u8")])
        assert size * len(tensor) <= len(data)
        sums = device_digest._sums_numpy(numpy, numpy.frombuffer(data, "u1"))
        assert device_digest._folded(device_digest._header("uint64", (len(data) // 8,)), sums) == same
        assert digests([tensor]) == [device_digest._folded(seen, sums)]


def test_large_tensors_and_many_small_ones() -> None:
    source = random.Random(3)
    many = [made(torch.float32, 4 * source.randrange(40), source) for _ in range(700)]
    large = made(torch.int32, LARGE + 3 * ROW_BYTES + 4, source)
    tensors = [*many[:300], large, *many[300:], large[1:]]
    want = expected(tensors)
    for threads in (1, 4, 6):
        torch.set_num_threads(threads)
        assert digests(tensors) == want
    with elsewhere():
        assert digests(tensors) == want


def test_in_a_forked_child() -> None:
    """What the program computes there it still can. In a process of its own: who sets the number of threads, forks and
    sums by threads in threads is refused by torch ("Invalid thread pool"), recorded or not."""
    code = (
        "import os, signal, sys, torch; sys.path.insert(0, sys.argv[1]); from probes.device_digest import digests;"
        "tensor = torch.zeros(1 << 22); want = [digests([tensor]) for _ in range(20)][0]; child = os.fork();"
        "child or signal.alarm(20);"
        "child or os._exit(0 if digests([tensor]) == want and float(torch.relu(tensor).sum()) == 0 else 1);"
        "sys.exit(os.waitpid(child, 0)[1] or digests([tensor]) != want)"
    )
    root = str(Path(__file__).resolve().parent.parent.parent)
    subprocess.run([sys.executable, "-c", code, root], check=True)


def test_where_threads_cannot_be_ended_there_are_none() -> None:
    torch.set_num_threads(4)
    tensor = torch.arange(float(LARGE // 4))
    want = expected([tensor])
    with unittest.mock.patch.object(device_digest, "_threads_end", return_value=False):
        assert digests([tensor]) == want
    assert digests([tensor]) == want


def test_memory_can_still_be_resized() -> None:
    """FSDP, for one, takes a parameter's memory away between its uses."""
    tensor = torch.arange(float(LARGE // 4))
    digests([tensor])
    tensor.untyped_storage().resize_(0)


def test_what_changes_later_does_not_matter() -> None:
    pending = Pending()
    tensors = [torch.arange(20.0), torch.zeros(2 * COLUMNS + 1)]
    before = expected(tensors)
    pending.take(tensors)
    for tensor in tensors:
        tensor.add_(1)
    pending.take(tensors)
    assert pending.finish() == before + expected(tensors)


def test_sparse_wrapped_and_refused() -> None:
    sparse = torch.sparse_coo_tensor(torch.tensor([[1, 4]]), torch.tensor([2.0, 3.0]), (9,), check_invariants=False)
    moved = torch.sparse_coo_tensor(torch.tensor([[1, 5]]), torch.tensor([2.0, 3.0]), (9,), check_invariants=False)
    assert digests([sparse]) == digests([sparse.clone()]) != digests([moved])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that this layout is new
        rows = torch.eye(3).to_sparse_csr()
    for wrong in (torch.empty(3, device="meta"), rows):
        try:
            digests([wrong])
        except TypeError as error:
            message = str(error)
        assert message.endswith("has no bits to compare"), wrong.layout
        message = ""


class Dispatched(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


class Called(TorchFunctionMode):
    count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


def test_the_program_does_not_notice() -> None:
    """No random number, no flag, no operator that a mode of the program's sees, no graph; and the same in all modes."""
    torch.manual_seed(5)
    weight = torch.randn(2 * COLUMNS + 5, requires_grad=True)
    after = weight * 2
    asked = [weight, after, weight.detach().to(torch.bfloat16)]
    want = digests(asked)
    random_state, flags = torch.get_rng_state(), (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    contexts: list[Any] = [
        torch.no_grad(),
        torch.enable_grad(),
        torch.inference_mode(),
        torch.autocast("cpu"),
        torch.device("meta"),
    ]
    for context in contexts:
        with context:
            assert digests(asked) == want
        assert digests(asked) == want
    for watcher in (Dispatched(), Called()):
        with watcher:
            assert digests(asked) == want
        assert watcher.count == 0, watcher
    with torch.inference_mode():
        made_there = weight.detach().clone()
    assert digests([made_there]) == want[:1]
    torch.use_deterministic_algorithms(True)
    assert digests(asked) == want
    assert torch.equal(torch.get_rng_state(), random_state)
    assert flags == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    after.sum().backward()
    assert weight.grad is not None
    assert weight._version == 0


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()


@atexit.register
def at_the_end() -> None:
    """Then no thread can be begun."""
    status = 1
    try:
        torch.set_num_threads(4)
        tensor = torch.arange(float(LARGE // 4))
        status = int(digests([tensor]) != expected([tensor]))
    finally:
        os._exit(status)
