"""The trace of a reference job: one row a library call, with its bits' digest and where its inputs came from.

The first row, in the order of work, with equal inputs and unequal outputs is where two machines diverged. Hence the one
rule for a job: **exactly one library call a row**, made through `Trace.call` (or `Trace.several`, where one call has
several results); only pure copies, views and selections happen between rows, and results are never changed in place.

Record (what `Trace.record` returns, JSON-able):

    steps     number of steps
    phases    names in the order of first use
    rows      row definitions: {"phase", "tensor", "operator", "components": [str], "inputs": [int], "dtype", "shape"}.
              An input n >= 0 is the row at position n of the same step, -(n+1) that at position n of the step before.
              Of a recorded program also "module" and "source", where these are known (`program.recorder`)
    sequence  {str(step): [definition of each position]}, only for steps that are not the usual 0, 1, 2 ... (as many as
              the step has digests); step 0 is such a step, as its first weights come from nowhere
    digests   one string a step: base64 of 8 bytes a row (`Tensor.digest`), by position
    tree      one string a step: the step's digest and then one a phase, 16 hexadecimal digits each. A phase's digest is
              BLAKE2b-64 over its rows' digests (over nothing where a step has no such phase), a step's over its phases'
    values    [{"step", "row": position, and `sketch.observe`}]: step 0 all rows; steps 1, 2, 4 ... 64 the last row of
              every phase (logits, loss, last gradient, new weights); `whole_step` all rows, whole
    digest    the fingerprint of the results: BLAKE2b-64 over the steps' digests, hexadecimal
"""

import base64
import hashlib
from collections import Counter
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

from .digest import DIGEST_BYTES, tensor
from .sketch import observe

SAMPLED_STEPS = (1, 2, 4, 8, 16, 32, 64)


class Definition(NamedTuple):
    """A row's definition, see the file's docstring."""

    phase: str
    tensor: str
    operator: str
    components: Tuple[str, ...]
    inputs: Tuple[int, ...]
    dtype: str
    shape: Tuple[int, ...]
    module: str = ""
    source: str = ""


class _Live(NamedTuple):
    """A value of this step or the one before. Holding the value keeps its id from being used again."""

    value: Any
    rows: Tuple[int, ...]  # positions of the rows that it came from
    digest: bytes  # empty for what is no row's whole output


class Step(NamedTuple):
    """The rows of one step, by position: numbers of definitions, and digests."""

    definitions: List[int]
    digests: List[bytes]


class Trace:
    """Records the rows of a job while it runs. `whole_step`: the step to record whole, for narrowing down."""

    def __init__(self, whole_step: Optional[int] = None) -> None:
        self._whole_step = whole_step
        self._definitions: Dict[Definition, int] = {}
        self._phases: Dict[str, None] = {}
        self._phase = ""
        self._steps: List[Step] = []
        self._values: List[Dict[str, Any]] = []
        self._results: List[Any] = []  # of this step, by position
        self._live: Dict[int, _Live] = {}
        self._before: Dict[int, _Live] = {}

    def begin_step(self) -> None:
        """A new step: from here on, what the step before gave counts as an input of "the step before"."""
        self._close()
        self._before, self._live, self._results = self._live, {}, []
        self._steps.append(Step([], []))

    def phase(self, name: str) -> None:
        """The rows that follow belong to this phase: data, forward, loss, backward or update."""
        self._phase = name
        self._phases.setdefault(name)

    def constant(self, name: str, value: Any) -> None:
        """A row without a call: what the step starts from (the batch; weights and optimizer state, which after step 0
        are rows of the step before: no new digest is needed then)."""
        known = self._before.get(id(value))
        if known is not None and known.digest:
            self._append(name, "constant", (), _earlier(known.rows), value, known.digest)
        else:
            self._append(name, "constant", (), (), value, b"")

    def call(
        self,
        name: str,
        operator: str,
        components: Tuple[str, ...],
        function: Callable[..., Any],
        *arguments: Any,
        **options: Any,
    ) -> Any:
        """Make one library call, `function(*arguments, **options)`, record its result as tensor `name`, and return it.

        operator: the call in words, "matmul f32"; components: what decides its bits, the first before all others.
        """
        result = function(*arguments, **options)
        self._append(name, operator, components, self._origin(arguments), result, b"")
        return result

    def several(
        self,
        names: Tuple[str, ...],
        operator: str,
        components: Tuple[str, ...],
        function: Callable[..., Any],
        *arguments: Any,
        **options: Any,
    ) -> Any:
        """As `call`, of a function with several results: each is a row of its name. One named "" is none."""
        results = function(*arguments, **options)
        inputs = self._origin(arguments)
        for name, result in zip(names, results):
            if name:
                self._append(name, operator, components, inputs, result, b"")
        return results

    def moved(self, value: Any, *sources: Any) -> Any:
        """`value` is made of `sources` by copying and selecting alone: it comes from the rows that they come from."""
        self._live[id(value)] = _Live(value, self._origin(sources), b"")
        return value

    def record(self) -> Dict[str, Any]:
        """Everything recorded, in the shape that the file's docstring gives. Ends the last step."""
        self._close()
        return assembled(list(self._definitions), list(self._phases), self._steps, self._values)

    def _append(
        self,
        name: str,
        operator: str,
        components: Tuple[str, ...],
        inputs: Tuple[int, ...],
        result: Any,
        digest: bytes,
    ) -> None:
        bits = tensor(result)
        digest = digest or bits.digest()
        definition = Definition(self._phase, name, operator, components, inputs, bits.dtype, bits.shape)
        step = self._steps[-1]
        step.definitions.append(self._definitions.setdefault(definition, len(self._definitions)))
        step.digests.append(digest)
        position = (len(self._results),)
        self._live[id(result)] = _Live(result, position, digest)
        owner = _owner(result)  # other than the result where a library hands out a view
        self._live.setdefault(id(owner), _Live(owner, position, b""))
        self._results.append(result)

    def _origin(self, values: Iterable[Any]) -> Tuple[int, ...]:
        rows: Dict[int, None] = {}
        for value in values:
            known = self._live.get(id(value)) or self._live.get(id(_owner(value)))
            if known is not None:
                rows.update(dict.fromkeys(known.rows))
                continue
            known = self._before.get(id(value)) or self._before.get(id(_owner(value)))
            if known is not None:
                rows.update(dict.fromkeys(_earlier(known.rows)))
        return tuple(rows)

    def _close(self) -> None:
        """Keep the values of the step that ends."""
        if not self._results:
            return
        step = len(self._steps) - 1
        for position in self._kept(step):
            seen = observe(tensor(self._results[position]), whole=step == self._whole_step)
            self._values.append(dict({"step": step, "row": position}, **seen))
        self._results = []

    def _kept(self, step: int) -> List[int]:
        if step == 0 or step == self._whole_step:
            return list(range(len(self._results)))
        if step not in SAMPLED_STEPS:
            return []
        phases = [definition.phase for definition in self._definitions]
        last = {phases[definition]: position for position, definition in enumerate(self._steps[step].definitions)}
        return sorted(position for phase, position in last.items() if phase != "data")


def assembled(
    definitions: List[Definition], phases: List[str], steps: List[Step], values: List[Dict[str, Any]]
) -> Dict[str, Any]:
    """The record of a trace, in the shape that the file's docstring gives; a step names its definitions by number."""
    usual = _usual(steps)
    order = usual + sorted(set(range(len(definitions))) - set(usual))
    number = {definition: index for index, definition in enumerate(order)}
    sequences = [[number[definition] for definition in step.definitions] for step in steps]
    tree = [_branch(step, definitions, phases) for step in steps]
    return {
        "steps": len(steps),
        "phases": phases,
        "rows": [_row(definitions[definition]) for definition in order],
        "sequence": {
            str(step): sequence for step, sequence in enumerate(sequences) if sequence != list(range(len(sequence)))
        },
        "digests": [base64.b64encode(b"".join(step.digests)).decode("ascii") for step in steps],
        "tree": [(branch[0] + b"".join(branch[1])).hex() for branch in tree],
        "values": values,
        "digest": _digest(branch[0] for branch in tree).hex(),
    }


def _usual(steps: List[Step]) -> List[int]:
    """The sequence of definitions that most steps have, the earliest of equally many."""
    if not steps:
        return []
    (sequence, _), *_ = Counter(tuple(step.definitions) for step in steps).most_common(1)
    return list(dict.fromkeys(sequence))


def _branch(step: Step, definitions: List[Definition], phases: List[str]) -> Tuple[bytes, List[bytes]]:
    rows: Dict[str, List[bytes]] = {phase: [] for phase in phases}
    for definition, digest in zip(step.definitions, step.digests):
        rows[definitions[definition].phase].append(digest)
    digests = [_digest(of_phase) for of_phase in rows.values()]
    return _digest(digests), digests


def _owner(value: Any) -> Any:
    """The array whose memory a numpy view shows; anything else is its own."""
    base = getattr(value, "base", None)
    return value if base is None else base


def _earlier(rows: Tuple[int, ...]) -> Tuple[int, ...]:
    return tuple(-(row + 1) for row in rows)


def _digest(digests: Iterable[bytes]) -> bytes:
    return hashlib.blake2b(b"".join(digests), digest_size=DIGEST_BYTES).digest()


def _row(definition: Definition) -> Dict[str, Any]:
    row: Dict[str, Any] = dict(definition._asdict())
    for key in ("components", "inputs", "shape"):
        row[key] = list(row[key])
    for key in ("module", "source"):
        if not row[key]:
            del row[key]
    return row
