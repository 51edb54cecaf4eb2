"""Steps of a program that trains with PyTorch, in eager mode or compiled, by its own loop or by a trainer.

What is one step: an optimizer step, with all forward and backward passes since the one before (several optimizers: each
of their steps is one; a step that a gradient scaler skips is none, its passes belong to the next). In a program that
has made no optimizer so far: a backward pass, or a call of a module without gradients. Calls without gradients in a
program that has an optimizer are its evaluations: one row for all batches since the last step, one for all outputs.
A process that multiprocessing started has steps if it makes an optimizer or is one of several ranks.

Rows, by phase; "#1", "#2" mark further passes of a step:

    evaluation  evaluation.batch, evaluation.output
    data        generator.torch .cuda .python .numpy; weight:NAME of what is new or was changed outside an optimizer;
                batch.X: what a loader gave with the first argument that it gave, or the arguments themselves
    forward     output, output.X: of a module that was called by no other; X is a place or a name
                input.X: what was made of these before the next such module
    loss        loss: what backward was called on
    backward    grad:NAME, as the optimizer finds it (LBFGS and what else is given a closure: as it leaves it)
    update      weight:NAME

Hooks need no changed line: `torch.nn.Module.__call__` and `torch.autograd.backward` are replaced by functions that
call them, the optimizer's are torch's own (global step hooks). Global module hooks would do for the calls,
but they end torch.compile's shortcuts, and so change what a compiled program computes.
"""

import functools
import multiprocessing
import os
import sys
import types
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from torch.utils.data.dataloader import _BaseDataLoaderIter

from . import api, data, tensors
from .dispatch import Operators
from .generators import Generators
from .parameters import Parameters
from .recorder import EVALUATION, Bits, Digest, Recorder, folded

_BATCHES = 4
"""Batches that a loader gave and that may still be called with: trainers fetch ahead."""

_UNCALLED = (
    "a model is trained that was never called as a module (within a compiled function, say): what it is given and gives"
    " is not recorded, and its parameters are named by their place in the optimizer"
)

Function = Callable[..., Any]


def install(recorder: Recorder) -> None:
    """Hook torch; its import has ended."""
    optimizer: Any = sys.modules[torch.optim.Optimizer.__module__]  # the package hides it
    if not hasattr(torch._C, "_get_dispatch_mode"):
        recorder.note("this torch is older than 2.2: its steps cannot be recorded")
        return
    steps = _Steps(recorder)
    hooks = hasattr(torch.compiler, "is_compiling")  # torch 2.2 takes its own off as soon as a program compiles
    if hooks:
        optimizer.register_optimizer_step_pre_hook(steps.before_update)
        optimizer.register_optimizer_step_post_hook(steps.after_update)
    optimizer.Optimizer.__init__ = _optimizer_made(steps, optimizer.Optimizer.__init__, hooks)
    torch.nn.Module.__call__ = _module_called(steps, torch.nn.Module.__call__)
    torch.autograd.backward = _backward_called(steps, torch.autograd.backward)
    _BaseDataLoaderIter.__next__ = _batch_given(steps, _BaseDataLoaderIter.__next__)
    api.watchers.append(steps.watch)


def _module_called(steps: "_Steps", call: Function) -> Function:
    compiling = getattr(torch.compiler, "is_compiling", None) or torch._utils.is_compiling  # of torch 2.2

    @functools.wraps(call)
    def called(module: Any, *arguments: Any, **options: Any) -> Any:
        if steps.inside or compiling() or not steps.recorder.active:
            if steps.path is None:
                return call(module, *arguments, **options)
            steps.path.append(id(module))
            try:
                return call(module, *arguments, **options)
            finally:
                steps.path.pop()
        steps.inside = True
        try:
            gradients = torch.is_grad_enabled() or _to_be_repeated()
            steps.before_call(module, gradients, arguments, options)
            output = call(module, *arguments, **options)
        finally:
            steps.inside = False
        steps.after_call(module, gradients, output)
        return output

    tensors.pass_over(called)
    return called


def _to_be_repeated() -> bool:
    """Whether a reentrant checkpoint runs, torch's or another's: a function of autograd that computes without gradients
    what it computes again with them in the backward pass."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "forward" and frame.f_code.co_varnames[:1] == ("ctx",):
            return any(getattr(frame.f_locals["ctx"], "needs_input_grad", ()))
        frame = frame.f_back
    return False


def _backward_called(steps: "_Steps", backward: Function) -> Function:
    @functools.wraps(backward)
    def called(tensors: Any, *arguments: Any, **options: Any) -> Any:
        if steps.inside or not steps.recorder.active:  # inside: a checkpoint computes again what is in a pass already
            return backward(tensors, *arguments, **options)
        steps.inside = True
        try:
            steps.before_backward(tensors)
            result = backward(tensors, *arguments, **options)
        finally:
            steps.inside = False
        steps.after_backward()
        return result

    tensors.pass_over(called)
    return called


def _optimizer_made(steps: "_Steps", init: Function, hooks: bool) -> Function:
    @functools.wraps(init)
    def made(optimizer: Any, *arguments: Any, **options: Any) -> None:
        steps.optimizer_made()
        kind = type(optimizer)
        if not hooks and not hasattr(kind.step, "_audited"):
            kind.step = _optimizer_steps(steps, kind.step)
            kind.step._audited = True
        init(optimizer, *arguments, **options)

    return made


def _optimizer_steps(steps: "_Steps", step: Function, groups: Any = None) -> Function:
    """The step of a class of optimizers; or of one that is none of torch's, with what stands for it."""

    @functools.wraps(step)
    def stepped(*arguments: Any, **options: Any) -> Any:
        given = (groups, *arguments) if groups else arguments
        steps.before_update(given[0], given, options)
        result = step(*arguments, **options)
        steps.after_update(given[0], given, options)
        return result

    return stepped


def _batch_given(steps: "_Steps", following: Function) -> Function:
    @functools.wraps(following)
    def given(iterator: Any) -> Any:
        batch = following(iterator)
        steps.batch_given(iterator, batch)
        return batch

    return given


class _Steps:
    """What of the step that is open was seen so far. inside: within a call of a module or a backward pass; path: the
    modules that run, where operators are recorded; optimized: the program has made an optimizer; helping: this process
    was started by another of the program, and has no steps so far."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.inside = False
        self.path: Optional[List[Any]] = None
        self.optimized = False
        process: Any = multiprocessing.current_process()
        self.helping = multiprocessing.parent_process() is not None or getattr(process, "_inheriting", False)  # so far
        self.before_call = self._hook(self._before_call)
        self.after_call = self._hook(self._after_call)
        self.before_backward = self._hook(self._before_backward)
        self.after_backward = self._hook(self._after_backward)
        self.before_update = self._hook(self._before_update, self._trains_forked)
        self.after_update = self._hook(self._after_update)
        self.batch_given = self._hook(self._batch_given)
        recorder.at_end(self._fold)
        self._generators = Generators(recorder)
        self._parameters = Parameters()
        self._begun = False
        self._described = False
        self._loader: Optional[data.Loader] = None
        self._loaded: List[List[Tuple[str, Any]]] = []  # by loaders: names and weak references
        self._batch: List[int] = []  # positions, of this pass
        self._outputs: List[int] = []
        self._losses: List[int] = []  # of all passes of the step
        self._made: Dict[int, Tuple[Any, int]] = {}  # tensors of rows of this step: id, weak reference and position
        self._called: Optional[Tuple[int, ...]] = None  # the inputs of the call that runs, if it is to be recorded
        self._evaluated: Tuple[List[Digest], List[Digest]] = ([], [])
        self._updating: Optional[int] = None  # id of the optimizer
        self._operators = Operators(recorder) if recorder.wanted.trace == "operators" else None
        if self._operators and self.helping:
            self._operators.close()

    def _hook(self, function: Function, forked: Optional[Callable[[], None]] = None) -> Callable[..., None]:
        """A hook of this function; forked: what is called in a forked child instead."""
        recorder = self.recorder

        @functools.wraps(function)
        def hook(*arguments: Any) -> None:
            if recorder.active and tensors.real():
                with recorder.guarding(), tensors.aside():
                    if not (self.helping and self._helps()):
                        function(*arguments)
                if self._operators and not self.helping:
                    self._operators.turn()
            elif recorder.forked and forked:
                forked()

        tensors.pass_over(hook, inside=True)
        return hook

    def _helps(self) -> bool:
        """Whether this process still is one whose work is that of others: which of them does it, may vary."""
        ranked = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.helping = not (self.optimized or ranked)
        if self.helping and torch.utils.data.get_worker_info() is None:
            self.recorder.note("processes that the program starts are not recorded, unless they train")
            self.recorder.flush()
        return self.helping

    def _trains_forked(self) -> None:
        with self.recorder.guarding():
            self.recorder.note("a process trains that was forked when torch was there: its steps are not recorded")
            self.recorder.flush()

    def optimizer_made(self) -> None:
        """From here on, what is computed without gradients is an evaluation."""
        if self.recorder.forked:
            self._trains_forked()
        self.optimized = True
        if self._operators:
            self._operators.optimized = True

    def watch(self, model: Any, optimizer: Any) -> bool:
        """`audit.watch`: name the parameters of a model that is never called, and see the steps of an optimizer that is
        none of torch's. False if it is no model of torch's."""
        if not isinstance(model, torch.nn.Module):
            return False
        model = tensors.unwrapped(model)
        self._hook(self._watched)(model)
        if hasattr(optimizer, "step") and not isinstance(optimizer, torch.optim.Optimizer):
            self.optimizer_made()
            groups = types.SimpleNamespace(param_groups=[{"params": list(model.parameters())}], state={})
            optimizer.step = _optimizer_steps(self, optimizer.step, groups)
        return True

    def _watched(self, model: Any) -> None:
        self._begin()
        self._weights(self._parameters.of(model))

    # A batch, and a call of a module.

    def _batch_given(self, iterator: Any, batch: Any) -> None:
        self._loader = data.loader(iterator)
        if self._loader.workers:
            self.recorder.note("DataLoader workers: of their work, the batches are recorded")
        self._loaded.append([(name, weakref.ref(tensor)) for name, tensor in tensors.within(batch)])
        del self._loaded[:-_BATCHES]

    def _before_call(self, module: Any, gradients: bool, arguments: Tuple[Any, ...], options: Dict[str, Any]) -> None:
        self._called = None
        given = tensors.within({**dict(enumerate(arguments)), **options})
        module = tensors.unwrapped(module)
        parameters = self._parameters.of(module)
        if self.optimized and not gradients:
            if parameters:
                self._evaluated[0].extend(tensors.bits(tensor).digest for _, tensor in given)
                self._called = ()
            self._enter(module, EVALUATION)
            return
        self._begin()
        weights = self._weights(parameters)
        self._take_loaded(given)
        inputs = [self._position(tensor, name) for name, tensor in given]
        if parameters and not self._described:
            self._described = True
            data.describe(self.recorder, given, parameters, self._generators.seeds(), self._loader)
        if parameters:  # else it is a loss, an activation: what comes of it is seen where it is used
            self._called = (*weights, *inputs)
        self._enter(module, "forward" if parameters else "loss")

    def _enter(self, module: Any, phase: str) -> None:
        if self._operators:
            self.path = self._operators.entered(module, phase)

    def _take_loaded(self, given: List[Tuple[str, Any]]) -> None:
        """Record all of a loader's batch as soon as a module is called with some of it: labels may never be given."""
        wanted = {id(tensor) for _, tensor in given}
        for batch in self._loaded:
            alive = [(name, reference()) for name, reference in batch]
            if any(id(tensor) in wanted for _, tensor in alive):
                for name, tensor in alive:
                    if tensor is not None:
                        self._position(tensor, name)
                self._loaded.remove(batch)
                return

    def _position(self, tensor: Any, name: str) -> int:
        """The row that an argument is from, or a new one."""
        reference, position = self._made.get(id(tensor), (None, 0))
        if reference is None or reference() is not tensor:
            if self._outputs and tensor.requires_grad:  # made of what an earlier module gave
                inputs = (*self._outputs, *self._batch)
                position = self._row("forward", "input." + name, "function", tensor, inputs)
            else:
                position = self._row("data", "batch." + name if name else "batch", "constant", tensor)
                self._batch.append(position)
            self._made[id(tensor)] = (weakref.ref(tensor), position)
        return position

    def _after_call(self, module: Any, gradients: bool, output: Any) -> None:
        self.path = None
        if self._operators:
            self._operators.left()
        if self._called is None:
            return
        made = tensors.within(output)
        if self.optimized and not gradients:
            self._evaluated[1].extend(tensors.bits(tensor).digest for _, tensor in made)
            return
        inputs = (*self._called, *self._generators.advanced())
        kind = type(tensors.unwrapped(module)).__name__
        for name, tensor in made:
            name = "output." + name if name else "output"
            position = self._row("forward", name, "forward", tensor, inputs, module=kind, sample=True)
            self._outputs.append(position)
            self._made[id(tensor)] = (weakref.ref(tensor), position)
        if not gradients:
            self._end()

    # A backward pass.

    def _before_backward(self, losses: Any) -> None:
        self._begin()
        if self._operators:
            self.path = self._operators.backward()
        for loss in [losses] if isinstance(losses, torch.Tensor) else losses:
            inputs = (*self._outputs, *self._batch)
            self._losses.append(self._row("loss", "loss", "loss", loss, inputs, sample=True))
            if loss.numel() == 1:
                self.recorder.loss(loss.detach())
        self._batch, self._outputs = [], []

    def _after_backward(self) -> None:
        self.path = None
        if self._updating is not None:
            self._phase("update")
        if not self.optimized:
            self._gradients(self._parameters.living())
            self._end()

    # An optimizer step.

    def _before_update(self, optimizer: Any, arguments: Tuple[Any, ...], options: Dict[str, Any]) -> None:
        if self._updating is not None and self._updating != id(optimizer):
            return  # the step of one optimizer that is made of others
        self._updating = id(optimizer)
        self._phase("update")
        if not _has_closure(arguments, options):
            self._gradients(self._optimized(optimizer))

    def _after_update(self, optimizer: Any, arguments: Tuple[Any, ...], options: Dict[str, Any]) -> None:
        if self._updating != id(optimizer):
            return
        self._updating = None
        parameters = self._optimized(optimizer)
        if _has_closure(arguments, options):
            self._gradients(parameters)
        self._begin()
        for parameter, bits in zip(parameters, tensors.all_bits(parameters)):
            name = self._parameters.name(parameter)
            inputs = self.recorder.latest("update", "grad:" + name, "weight:" + name)
            last = parameter is parameters[-1]
            self._row("update", "weight:" + name, "update", parameter, inputs, bits=bits, sample=last)
            self._parameters.shown(parameter)
        self._end()

    def _optimized(self, optimizer: Any) -> List[Any]:
        """The parameters of an optimizer, each with a name."""
        found = []
        for group, parameters in enumerate(optimizer.param_groups):
            for place, parameter in enumerate(parameters["params"]):
                if not self._parameters.known(parameter):
                    self.recorder.note(_UNCALLED)
                    self._parameters.call(parameter, "group{}.param{}".format(group, place))
                if self._operators:
                    self._operators.state(self._parameters.name(parameter), optimizer.state.get(parameter))
                if tensors.readable(parameter):
                    found.append(parameter)
        return found

    def _gradients(self, parameters: List[Any]) -> None:
        self._begin()
        having = [one for one in parameters if one.grad is not None and tensors.readable(one.grad)]
        gradients = [parameter.grad for parameter in having]
        for parameter, gradient, bits in zip(having, gradients, tensors.all_bits(gradients)):
            name = self._parameters.name(parameter)
            inputs = (*self._losses, *self.recorder.latest("backward", "weight:" + name))
            last = parameter is having[-1]
            self._row("backward", "grad:" + name, "backward", gradient, inputs, bits=bits, sample=last)

    # The step.

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        if self.recorder.rank is None:
            self._find_rank()
        self._fold()
        self._generators.rows()

    def _fold(self) -> None:
        """Rows of the evaluations since the last step."""
        given, made = self._evaluated
        if given or made:
            inputs = self.recorder.latest(EVALUATION, *["weight:" + name for name in self._parameters.names()])
            batch = self.recorder.row(EVALUATION, "evaluation.batch", "constant", folded(given))
            self.recorder.row(EVALUATION, "evaluation.output", "forward", folded(made), (batch, *inputs))
        self._evaluated = ([], [])

    def _end(self) -> None:
        if self.recorder.step == 0 and self._losses:
            data.passes(self.recorder, len(self._losses))
        self._begun = False
        self._batch, self._outputs, self._losses, self._made = [], [], [], {}
        if self._operators:
            self._operators.step_over()
        self.recorder.end_step()

    def _phase(self, name: str) -> None:
        if self._operators:
            self._operators.phase = name

    def _row(
        self,
        phase: str,
        name: str,
        operator: str,
        tensor: Any,
        inputs: Tuple[int, ...] = (),
        bits: Optional[Bits] = None,
        **more: Any,
    ) -> int:
        if self._operators:
            inputs = tuple(dict.fromkeys((*self._operators.origin(tensor, phase), *inputs)))
        position = self.recorder.row(phase, name, operator, bits or tensors.bits(tensor), inputs, **more)
        if self._operators:
            self._operators.know(tensor, position)
        return position

    def _find_rank(self) -> None:
        rank, world = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
        if rank and world and rank.isdigit() and world.isdigit():
            self.recorder.rank, self.recorder.world = int(rank), int(world)
        elif torch.distributed.is_available() and torch.distributed.is_initialized():
            self.recorder.rank = torch.distributed.get_rank()
            self.recorder.world = torch.distributed.get_world_size()

    def _weights(self, parameters: List[Any]) -> Tuple[int, ...]:
        """The rows that the parameters are from; new ones of those that were changed since."""
        changed = self._parameters.changed(parameters)
        for parameter, bits in zip(changed, tensors.all_bits(changed)):
            self._row("data", "weight:" + self._parameters.name(parameter), "constant", parameter, bits=bits)
            self._parameters.shown(parameter)
        return self.recorder.latest("data", *["weight:" + self._parameters.name(one) for one in parameters])


def _has_closure(arguments: Tuple[Any, ...], options: Dict[str, Any]) -> bool:
    """Whether a step of an optimizer was given a closure, which computes the gradients within the step."""
    return bool(options.get("closure") or (len(arguments) > 1 and arguments[1]))
