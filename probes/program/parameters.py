"""The parameters of a program that trains with PyTorch: their names, and which were changed since their last row.

A parameter is called as the module calls it that was called by no other ("layers.0.weight"); of a second such module,
behind its class ("Discriminator.layers.0.weight"). What wraps a model (DataParallel, torch.compile) is in no name.
"""

import weakref
from typing import Any, Dict, Iterable, List, NamedTuple

import torch

from . import tensors

_WRAPPED = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What wrappers call the module within."""


class _Owned(NamedTuple):
    """A parameter that is known by a name."""

    parameter: Any  # a weak reference
    name: str


class Parameters:
    """Those that were seen so far. One that is gone leaves its id to another, which is then not known."""

    def __init__(self) -> None:
        self._owned: Dict[int, _Owned] = {}  # by id of the parameter
        self._versions: Dict[int, int] = {}  # as of its last row
        self._roots: List[str] = []  # classes of the modules that were called by no other and had new parameters

    def of(self, module: Any) -> List[Any]:
        """The parameters of a module that was called by no other; from now on, they have names."""
        found = [one for one in module.parameters() if not torch.nn.parameter.is_lazy(one) and tensors.readable(one)]
        if all(map(self.known, found)):
            return found
        kind = type(module).__name__
        again = self._roots.count(kind)
        prefix = "{}#{}.".format(kind, again) if again else kind + "." if self._roots else ""
        self._roots.append(kind)
        for name, parameter in module.named_parameters():
            if not torch.nn.parameter.is_lazy(parameter) and not self.known(parameter):
                parts = [part for part in name.split(".") if part not in _WRAPPED]
                self.call(parameter, prefix + ".".join(parts))
        return found

    def call(self, parameter: Any, name: str) -> None:
        """Give a parameter a name."""
        self._owned[id(parameter)] = _Owned(weakref.ref(parameter), name)
        self._versions.pop(id(parameter), None)  # of one that is no more, and had this id

    def known(self, parameter: Any) -> bool:
        """Whether it has a name."""
        owned = self._owned.get(id(parameter))
        return owned is not None and owned.parameter() is parameter

    def name(self, parameter: Any) -> str:
        """The name of one that is known."""
        return self._owned[id(parameter)].name

    def names(self) -> List[str]:
        """All names that were given, in that order."""
        return [owned.name for owned in self._owned.values()]

    def living(self) -> List[Any]:
        """All that are known and not gone."""
        found = [owned.parameter() for owned in self._owned.values()]
        return [parameter for parameter in found if parameter is not None]

    def changed(self, parameters: Iterable[Any]) -> List[Any]:
        """Those of them that were written to since their last row, or that no row shows."""
        return [one for one in parameters if self._versions.get(id(one)) != tensors.version(one)]

    def shown(self, parameter: Any) -> None:
        """A row shows it as it is now."""
        self._versions[id(parameter)] = tensors.version(parameter)
