"""Where the tensors of a program came from: by their memory, of which the rows are known that wrote it.

Views show the memory of their base, and what is changed in place keeps its memory; so both need no care. No reference
here keeps memory alive: a weak one only keeps its number from being used again.
"""

from typing import Any, Dict, NamedTuple, Tuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from .recorder import Recorder

Rows = Tuple[Tuple[int, int], ...]
"""(step, position) of rows."""

_MOST = 64
"""Rows that one memory may come from; of one that was written in more pieces, the last."""


class _Known(NamedTuple):
    reference: Any
    rows: Rows


class Lineage:
    """The memories that are known; one that is known with no rows holds nothing yet."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._known: Dict[int, _Known] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._known

    def know(self, tensor: Any, position: int) -> None:
        """A row of the step was made of this tensor: what is computed from it comes from that row."""
        self.set(tensor, ((self._recorder.step, position),))

    def wrote(self, tensor: Any, position: int) -> None:
        """As `know`, of a tensor that was there before and has been changed: the rest of its memory is what it was."""
        known = self._known.get(memory(tensor))
        rows: Rows = ((self._recorder.step, position),)
        if known and known.rows and tensor.numel() * tensor.element_size() < tensor.untyped_storage().nbytes():
            rows = (*known.rows, *rows)[-_MOST:]
        self.set(tensor, rows)

    def set(self, tensor: Any, rows: Rows) -> None:
        """These rows wrote its memory, () nobody so far."""
        storage = tensor.untyped_storage()
        number = storage._cdata
        known = self._known.get(number)
        self._known[number] = _Known(known.reference if known else StorageWeakRef(storage), rows)

    def inputs(self, number: int, phase: str) -> Tuple[int, ...]:
        """The rows that wrote a memory, as inputs of the next row of a phase; older ones are equal or were told of."""
        known = self._known.get(number)
        if known is None:
            return ()
        now = self._recorder.step_of(phase)
        return tuple([row if step == now else -(row + 1) for step, row in known.rows if step >= now - 1])

    def forget(self) -> None:
        """Drop what no tensor shows any more."""
        self._known = {number: known for number, known in self._known.items() if not known.reference.expired()}


def memory(tensor: Any) -> int:
    """A number that stands for a tensor's memory."""
    return int(tensor.untyped_storage()._cdata)


def plain(value: Any) -> bool:
    """Whether it is a tensor with memory whose bits can be read."""
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        return False
    return not (value.is_meta or value.is_quantized or value.is_nested)
