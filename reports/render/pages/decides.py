"""What decides the numbers on one machine, component by component, in plain words from the facts in effect."""

from __future__ import annotations

from collections.abc import Callable

from ...report import Facts, Target, Value
from .measured import every
from .words import plain, value


def decides(target: Target) -> list[tuple[str, str]]:
    """Plain name and text for the CPU and each component of which something is known, in a fixed order."""
    facts = _Known(every(target))
    rows = [("CPU", _cpu(facts)), *((plain(name), text(facts)) for name, text in _COMPONENTS.items())]
    return [(name[:1].upper() + name[1:], text) for name, text in rows if text]


class _Known:
    """The facts that have a value. A fact may stand once a library ("blas.kernel.openblas"): the first one counts."""

    def __init__(self, facts: Facts) -> None:
        self._facts = {
            name: fact.value for name, fact in facts.items() if fact.status is None and fact.value is not None
        }

    def get(self, name: str) -> Value:
        if name in self._facts:
            return self._facts[name]
        return next((found for other, found in self._facts.items() if other.startswith(f"{name}.")), None)

    def text(self, name: str, form: str = "{}") -> str:
        """The value in `form`, or "" where there is none."""
        found = self.get(name)
        return "" if found is None else form.format(value(found))


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _cpu(facts: _Known) -> str:
    name = facts.text("cpu.name") or facts.text("cpu.model")
    emulated = "emulated" if facts.get("cpu.emulated") else ""
    return _joined(name, facts.text("cpu.level"), facts.text("cpu.microcode", "microcode {}"), emulated)


_LIBRARIES = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS", "netlib": "reference BLAS"}
"""Library names as their projects write them."""


def _blas(facts: _Known) -> str:
    name = facts.text("blas.implementation")
    library = " ".join(filter(None, (_LIBRARIES.get(name, name), facts.text("blas.version"))))
    threads = facts.get("blas.threads")
    used = "" if threads is None else f"{value(threads)} thread{'' if threads == 1 else 's'}"
    return _joined(library, facts.text("blas.kernel", "{} code"), used)


def _numpy(facts: _Known) -> str:
    found = facts.get("numpy.simd_found")
    if found is None:
        return facts.text("numpy.version", "numpy {}")
    simd = "no SIMD beyond its baseline" if found == [] else f"uses {value(found)}"
    return _joined(facts.text("numpy.version", "numpy {}"), simd)


def _libm(facts: _Known) -> str:
    library = " ".join(filter(None, (facts.text("libc.name"), facts.text("libc.version"))))
    features = facts.get("libm.features")
    using = ""
    if isinstance(features, list):
        names = [name for name in ("AVX512F", "FMA", "FMA4", "AVX2", "SSE4_1") if name in features]
        using = f"may use {', '.join(names)}" if names else "plain code only" if not features else ""
    return _joined(library, using, facts.text("libc.tunables", "tunables {}") if facts.get("libc.tunables") else "")


def _fpu(facts: _Known) -> str:
    flushed = facts.get("fpu.flush_to_zero")
    zeroed = facts.get("fpu.denormals_are_zero")
    if flushed is None and zeroed is None:
        return ""
    tiny = "tiny numbers become zero" if flushed or zeroed else "tiny numbers kept"
    return _joined(tiny, facts.text("fpu.rounding", "rounds to {}"))


def _random(facts: _Known) -> str:
    return _joined(facts.text("numpy.version", "numpy {}"), facts.text("python.version", "Python {}"))


def _python(facts: _Known) -> str:
    return _joined(facts.text("python.version", "Python {}"), facts.text("python.compiler"))


def _ordering(facts: _Known) -> str:
    seed = facts.get("python.hash_seed")
    return (
        "another order in every run (hash seed is random)"
        if seed == "random"
        else facts.text("python.hash_seed", "hash seed {}")
    )


def _aten(facts: _Known) -> str:
    threads = facts.text("torch.threads", "{} thread" + "s" * (facts.get("torch.threads") != 1))
    return _joined(facts.text("torch.version", "PyTorch {}"), facts.text("aten.capability", "{} code"), threads)


def _onednn(facts: _Known) -> str:
    version = facts.text("onednn.version", "oneDNN {}")  # none: what is known is of the one inside XLA
    return _joined(version, facts.text("onednn.isa", "{} code")) if version else ""


def _mkl(facts: _Known) -> str:
    intel, mode = facts.get("mkl.intel"), facts.get("mkl.mode")
    maker = "" if intel is None else f"code for {'' if intel else 'non-'}Intel processors"
    return _joined(
        facts.text("mkl.version", "MKL {}"), maker, "" if mode == "OFF" else facts.text("mkl.mode", "mode {}")
    )


def _cuda(facts: _Known) -> str:
    device = facts.text("cuda.device")
    return (
        _joined(device, facts.text("cuda.version", "CUDA {}"), facts.text("cuda.cudnn", "cuDNN {}")) if device else ""
    )


def _xla(facts: _Known) -> str:
    features = facts.get("xla.features")
    using = ""
    if isinstance(features, list):
        names = [name for name in ("avx512f", "fma", "avx2") if name in features]
        using = f"uses {', '.join(names).upper()}" if names else "no vector code beyond its baseline"
    threads = facts.text("xla.threads", "{} thread" + "s" * (facts.get("xla.threads") != 1))
    other = facts.get("xla.version") != facts.get("xla.jax_version")
    library = facts.text("xla.version", "jaxlib {}") if other else ""
    return _joined(facts.text("xla.jax_version", "JAX {}"), library, using, threads)


_COMPONENTS: dict[str, Callable[[_Known], str]] = {
    "blas": _blas,
    "numpy": _numpy,
    "libm": _libm,
    "fpu": _fpu,
    "random": _random,
    "python": _python,
    "ordering": _ordering,
    "aten": _aten,
    "onednn": _onednn,
    "mkl": _mkl,
    "cuda": _cuda,
    "xla": _xla,
}
