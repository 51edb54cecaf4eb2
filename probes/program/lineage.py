"""Where the tensors of a program came from: by their memory, of which the rows are known that wrote it.

Views show the memory of their base, and what is changed in place keeps its memory; so both need no care. No reference
here keeps memory alive: a weak one only keeps its number from being used again.
"""

from typing import Any, Dict, List, Tuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from .recorder import Recorder

Rows = Tuple[Tuple[int, int], ...]
"""(step, position) of rows."""

_MOST = 64
"""Rows that one memory may come from; of one that was written in more pieces, the last."""


class Lineage:
    """known: the memories of which something is known, by number, each with a weak reference and the rows that wrote
    it: none where nobody has."""

    def __init__(self, recorder: Recorder) -> None:
        self.known: Dict[int, Tuple[Any, Rows]] = {}
        self._recorder = recorder

    def know(self, tensor: Any, position: int) -> None:
        """A row of the step was made of this tensor: what is computed from it comes from that row."""
        self.set(tensor, ((self._recorder.step, position),))

    def wrote(self, tensor: Any, position: int) -> None:
        """As `know`, of a tensor that was there before and has been changed: the rest of its memory is what it was."""
        rows: Rows = ((self._recorder.step, position),)
        known = self.known.get(memory(tensor))
        if known and known[1] and tensor.numel() * tensor.element_size() < tensor.untyped_storage().nbytes():
            rows = (*known[1], *rows)[-_MOST:]
        self.set(tensor, rows)

    def set(self, tensor: Any, rows: Rows) -> None:
        """These rows wrote its memory, () nobody so far."""
        storage = tensor.untyped_storage()
        number = storage._cdata
        known = self.known.get(number)
        self.known[number] = (known[0] if known else StorageWeakRef(storage), rows)

    def inputs(self, number: int, phase: str) -> List[int]:
        """The rows that wrote a memory, as inputs of the next row of a phase; older ones are equal or were told of."""
        known = self.known.get(number)
        if known is None:
            return []
        now = self._recorder.step_of(phase)
        return [row if step == now else -(row + 1) for step, row in known[1] if step >= now - 1]

    def forget(self) -> None:
        """Drop what no tensor shows any more."""
        self.known = {number: known for number, known in self.known.items() if not known[0].expired()}


def memory(value: Any) -> int:
    """A number that stands for a tensor's memory; 0 for what is none whose bits can be read."""
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        return 0
    if not value.is_cpu and not value.is_cuda and (value.is_meta or value.is_nested):
        return 0
    return 0 if value.is_quantized else int(value.untyped_storage()._cdata)
