"""Settings: what pins a component, as data. One row a setting: what it is called, what it decides, the values that are
possible here, how a value follows from the other side's facts in effect, and which machines a value stands for.

A report is untrusted: names stand here and never come from a report, and a value is built only from words that match
what the component can mean. To add a setting, add a row.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from audit.causes import pytorch, xla
from audit.causes.extensions import LEVELS, NEWEST, cpu, extensions, listed
from audit.causes.extensions import level as level_of
from audit.compare.side import Measured

Values = dict[str, str]
"""Values by the setting's name. "" of a variable: it is taken out of the environment."""

_WORD = re.compile(r"[A-Za-z0-9_]{1,24}")


@dataclass(frozen=True)
class Setting:
    """One way to pin a component.

    how: a `variable` stands in the environment before the interpreter starts, a `call` is made in the process.
    fact: the fact in effect that it decides. derive: from (the value wanted, the one here, this side) to the setting's
    value; None where this side cannot be made to do that. values: those possible here, nearest to the usual first.
    stands_for: the machine that a value imitates, in words. under: from (this side, vector extensions) to the value
    under which it uses no more than these; None where it does not anyway. code: the lines of a call. library: of BLAS,
    on both sides. of_cpu: it imitates another CPU, which works downwards only. also: other components that it decides.
    """

    name: str
    how: Literal["variable", "call"]
    component: str
    fact: str
    derive: Callable[[object, object, Measured], str | None]
    values: Callable[[Measured], list[str]]
    stands_for: Callable[[str], str]
    source: str
    under: Callable[[Measured, frozenset[str]], str | None] | None = None
    code: str = ""
    library: str = ""
    of_cpu: bool = False
    also: tuple[str, ...] = ()

    def decides(self, components: Collection[str]) -> bool:
        """Whether it pins one of these."""
        return not {self.component, *self.also}.isdisjoint(components)


_KERNELS = {
    "SkylakeX": NEWEST,
    "Haswell": LEVELS["a CPU without AVX-512"],
    "Sandybridge": frozenset({"avx"}),
    "Nehalem": frozenset(),
    "Prescott": frozenset(),
}
"""What each OpenBLAS kernel needs."""

_SAME_CODE = {"Zen": "Haswell", "Cooperlake": "SkylakeX", "SapphireRapids": "SkylakeX"}
"""Kernels that compute like another one in everything that the battery tries."""


def _level_of_kernel(value: str) -> str:
    return level_of(_KERNELS.get(value))


def _level_of_disabled(value: str) -> str:
    """The highest level on which none of the disabled features can be."""
    needs = [extensions([word]) for word in re.findall(r"\w+", value.rpartition("=")[2])]
    return next((level for level, left in LEVELS.items() if not any(one <= left for one in needs)), "")


# How values follow from facts


def _kernel(wanted: object, have: object, here: Measured) -> str | None:
    return wanted if isinstance(wanted, str) and _WORD.fullmatch(wanted) else None


def _kernels(here: Measured) -> list[str]:
    if here.fact("blas.implementation") != "openblas":
        return []
    return [name for name, needs in _KERNELS.items() if needs <= cpu(here) and name != here.fact("blas.kernel")]


_OTHER_SIZE = "512"
"""kB, of the second cache of older processors of AMD's: those whose blocks the code path itself has."""


def _usual_blocks(wanted: object, have: object, here: Measured) -> str | None:
    return _OTHER_SIZE if isinstance(wanted, str) and has_blocks_of_its_own(here) else None


def has_blocks_of_its_own(here: Measured) -> bool:
    """Whether OpenBLAS divides its sums for this processor, whatever code path it takes."""
    caches, version = here.fact("cpu.caches"), here.fact("blas.version")
    return (
        here.fact("cpu.vendor") == "AuthenticAMD"
        and "avx512" in cpu(here)
        and isinstance(caches, dict)
        and caches.get("L2") == 1 << 20
        and [int(number) for number in re.findall(r"\d{1,9}", str(version))] >= [0, 3, 34]
        and here.fact("variables.OPENBLAS_L2_SIZE") is None
    )


def _count(wanted: object, have: object, here: Measured) -> str | None:
    fits = isinstance(wanted, int) and not isinstance(wanted, bool) and 0 < wanted <= _cpus(here)
    return str(wanted) if fits else None


def _more(wanted: object, have: object, here: Measured) -> str | None:
    beyond = isinstance(wanted, int) and _cpus(here) < wanted <= 256
    return str(wanted) if beyond else None


def _cpus(here: Measured) -> int:
    """CPUs that a library may use here: OpenBLAS takes no greater number of threads from its variable."""
    counts = [here.fact(name) for name in ("limits.affinity", "cpu.count")]
    return min((count for count in counts if isinstance(count, int)), default=1)


def _counts(here: Measured) -> list[str]:
    return _powers(here, "blas.threads") if here.fact("blas.implementation") == "openblas" else []


def _powers(here: Measured, fact: str) -> list[str]:
    """Other numbers of threads, powers of two; none where the fact is not known."""
    have = here.fact(fact)
    powers = [1 << n for n in range(10) if 1 << n <= _cpus(here)]
    return [str(count) for count in powers if count != have] if have is not None else []


def _count_of_torch(mkl: bool) -> Callable[[object, object, Measured], str | None]:
    """mkl: for torch that calls MKL, and takes its number of threads for its own; or for one that does not."""
    return lambda wanted, have, here: _count(wanted, have, here) if _calls_mkl(here) is mkl else None


def _counts_of_torch(mkl: bool) -> Callable[[Measured], list[str]]:
    return lambda here: _powers(here, "torch.threads") if _calls_mkl(here) is mkl else []


def _calls_mkl(here: Measured) -> bool | None:
    """Whether torch calls MKL; None where no torch computed."""
    return here.fact("mkl.version") is not None if here.fact("torch.threads") is not None else None


def _seed(wanted: object, have: object, here: Measured) -> str | None:
    return str(wanted) if isinstance(wanted, int) and 0 <= wanted < 1 << 32 else None


def _surplus(wanted: object, have: object, here: Measured) -> list[str] | None:
    """Features in effect here that need an extension which no feature in effect there has, in this side's own names;
    None if something is in effect there that this CPU does not have."""
    if not isinstance(wanted, list) or not isinstance(have, list):
        return None
    theirs = extensions(wanted)
    if not theirs <= cpu(here):
        return None
    same_names = set(wanted) <= set(have)
    words = [item for item in have if (item not in wanted if same_names else not extensions([item]) <= theirs)]
    return words if all(isinstance(item, str) and _WORD.fullmatch(item) for item in words) else None


def _disabled(wanted: object, have: object, here: Measured) -> str | None:
    words = _surplus(wanted, have, here)
    return ",".join(words) if words else None  # numpy takes spaces too, which shells and env files do not


def _tunables(wanted: object, have: object, here: Measured) -> str | None:
    words = _surplus(wanted, have, here)
    return "glibc.cpu.hwcaps=" + ",".join("-" + word for word in words) if words else None


def _masks(fact: str, value: Callable[[object, object, Measured], str | None]) -> Callable[[Measured], list[str]]:
    """Every level below what is in effect, each as the value that leaves what it has."""
    under = _mask_under(fact, value)

    def values(here: Measured) -> list[str]:
        made = [under(here, left) for left in LEVELS.values()]
        return list(dict.fromkeys(filter(None, made)))

    return values


def _kernel_under(here: Measured, left: frozenset[str]) -> str | None:
    kernel = str(here.fact("blas.kernel"))
    needs = _KERNELS.get(_SAME_CODE.get(kernel, kernel), frozenset())
    if here.fact("blas.implementation") != "openblas" or needs <= left:
        return None
    return next(name for name, needs in _KERNELS.items() if needs <= left)


def _mask_under(
    fact: str, value: Callable[[object, object, Measured], str | None]
) -> Callable[[Measured, frozenset[str]], str | None]:
    """The mask that leaves no more than these extensions."""

    def under(here: Measured, left: frozenset[str]) -> str | None:
        have = listed(here.fact(fact))
        return value([one for one in have if extensions([one]) <= left], have, here) if have else None

    return under


def _flushed(wanted: object, have: object, here: Measured) -> str | None:
    return "1" if wanted is True and have is False else None


def _x86(here: Measured) -> list[str]:
    return ["1"] if here.fact("cpu.machine") in ("x86_64", "AMD64") and here.fact("fpu.flush_to_zero") is False else []


def _threads(value: str) -> str:
    return f"a machine with {value} CPU{'s' * (value != '1')}" if value else ""


SETTINGS = (
    Setting(
        "OPENBLAS_CORETYPE", "variable", "blas", "blas.kernel", _kernel, _kernels, _level_of_kernel,
        "OpenBLAS, driver/others/dynamic.c: force_coretype", _kernel_under, library="openblas",
        of_cpu=True,
    ),
    Setting(
        "OPENBLAS_L2_SIZE", "variable", "blas", "blas.kernel_blocks", _usual_blocks,
        lambda here: [_OTHER_SIZE] if has_blocks_of_its_own(here) else [],
        lambda value: "a CPU that is no Zen 4 or 5",
        "OpenBLAS, kernel/setparam-ref.c: init_parameter; only code paths for AVX-512 bear what it has for such a CPU",
        lambda here, left: _OTHER_SIZE if has_blocks_of_its_own(here) else None, library="openblas",
    ),
    Setting(
        "OPENBLAS_NUM_THREADS", "variable", "blas", "blas.threads", _count, _counts, _threads,
        "OpenBLAS, README: runtime variables; no more than there are CPUs", library="openblas",
    ),
    Setting(
        "blas_threads", "call", "blas", "blas.threads", _more, lambda here: [], _threads,
        "threadpoolctl: threadpool_limits, which takes more than there are CPUs",
        code="import threadpoolctl; threadpoolctl.threadpool_limits({value}, 'blas')", library="openblas",
    ),
    Setting(
        "NPY_DISABLE_CPU_FEATURES", "variable", "numpy", "numpy.simd_found", _disabled,
        _masks("numpy.simd_found", _disabled), _level_of_disabled,
        "numpy, CPU/SIMD optimizations: runtime dispatch", _mask_under("numpy.simd_found", _disabled), of_cpu=True,
    ),
    Setting(
        "GLIBC_TUNABLES", "variable", "libm", "libm.features", _tunables,
        _masks("libm.features", _tunables), _level_of_disabled,
        "glibc manual, Hardware Capability Tunables", _mask_under("libm.features", _tunables), of_cpu=True,
    ),
    Setting(
        "ATEN_CPU_CAPABILITY", "variable", "aten", "aten.capability", pytorch.code, pytorch.codes,
        pytorch.level_of_code, "PyTorch, aten/src/ATen/native/DispatchStub.cpp: compute_cpu_capability",
        pytorch.code_under, of_cpu=True,
    ),
    Setting(
        "ONEDNN_MAX_CPU_ISA", "variable", "onednn", "onednn.isa", pytorch.isa, pytorch.isas, pytorch.level_of_isa,
        "oneDNN, CPU Dispatcher Control; XLA has one inside, too", pytorch.isa_under, of_cpu=True, also=("xla",),
    ),
    Setting(
        "MKL_CBWR", "variable", "mkl", "mkl.mode", pytorch.mode, pytorch.modes, lambda value: "",
        "oneMKL, Conditional Numerical Reproducibility; another maker's processor has AUTO and COMPATIBLE only",
        pytorch.mode_under,
    ),
    Setting(
        "MKL_NUM_THREADS", "variable", "aten", "torch.threads", _count_of_torch(mkl=True), _counts_of_torch(mkl=True),
        _threads, "PyTorch, aten/src/ATen/ParallelOpenMP.cpp: init_num_threads; ahead of OMP_NUM_THREADS, and of torch "
        "alone", also=("onednn", "mkl"),
    ),
    Setting(
        "OMP_NUM_THREADS", "variable", "aten", "torch.threads", _count_of_torch(mkl=False),
        _counts_of_torch(mkl=False), _threads, "OpenMP; for PyTorch without MKL", also=("onednn",),
    ),
    Setting(
        "torch_threads", "call", "aten", "torch.threads", _more, lambda here: [], _threads,
        "torch.set_num_threads, which takes more than there are CPUs",
        code="import torch; torch.set_num_threads({value})", also=("onednn", "mkl"),
    ),
    Setting(
        "torch_deterministic", "call", "cuda", "torch.deterministic", pytorch.deterministic, pytorch.deterministics,
        lambda value: "", "torch.use_deterministic_algorithms; on a GPU it asks for one of two workspaces of cuBLAS",
        code='import torch; torch.set_deterministic_debug_mode("{value}")    # with CUBLAS_WORKSPACE_CONFIG=:4096:8',
        also=("aten",),
    ),
    Setting(
        "cuda_matmul_precision", "call", "cuda", "cuda.matmul_precision", pytorch.one_of("ieee", "tf32"),
        pytorch.others_of("cuda.matmul_precision", "ieee", "tf32"), lambda value: "",
        "PyTorch, CUDA semantics: TensorFloat-32; before torch 2.9 allow_tf32",
        code='import torch; torch.backends.cuda.matmul.fp32_precision = "{value}"',
    ),
    Setting(
        "cuda_conv_precision", "call", "cuda", "cuda.conv_precision", pytorch.one_of("ieee", "tf32"),
        pytorch.others_of("cuda.conv_precision", "ieee", "tf32"), lambda value: "",
        "PyTorch, CUDA semantics: TensorFloat-32; before torch 2.9 allow_tf32",
        code='import torch; torch.backends.cudnn.conv.fp32_precision = "{value}"',
    ),
    Setting(
        "NVIDIA_TF32_OVERRIDE", "variable", "cuda", "cuda.tf32_override", pytorch.one_of("0", "1"),
        pytorch.others_of("cuda.tf32_override", "0", "1"), lambda value: "",
        "cuBLAS and cuDNN, whatever the program asks for; torch's own flags do not show it",
    ),
    Setting(
        "CUBLAS_WORKSPACE_CONFIG", "variable", "cuda", "cuda.cublas_workspace", pytorch.workspace,
        pytorch.others_of("cuda.cublas_workspace", ":4096:8", ":16:8"), lambda value: "",
        "cuBLAS, Results reproducibility",
    ),
    Setting(
        "cudnn_benchmark", "call", "cuda", "cuda.cudnn_benchmark", pytorch.benchmark, pytorch.benchmarks,
        lambda value: "", "PyTorch, Reproducibility: CUDA convolution benchmarking",
        code="import torch; torch.backends.cudnn.benchmark = {value}",
    ),
    Setting(
        "XLA_FLAGS", "variable", "xla", "xla.features", xla.isa, xla.isas, xla.level_of_isa,
        "XLA, debug_options_flags.cc: xla_cpu_max_isa; read when the first computation starts",
        xla.isa_under, of_cpu=True,
    ),
    Setting(
        "NPROC", "variable", "xla", "xla.threads", xla.threads, lambda here: _powers(here, "xla.threads"), _threads,
        "XLA, cpu_client.cc: DefaultThreadPoolSize",
    ),
    Setting(
        "PYTHONHASHSEED", "variable", "ordering", "python.hash_seed", _seed, lambda here: ["0"],
        lambda value: "a run with another hash seed", "Python, Command line and environment",
    ),
    Setting(
        "flush_denormals", "call", "fpu", "fpu.flush_to_zero", _flushed, _x86,
        lambda value: "a process with -Ofast code",
        "Intel SDM 1, 10.2.3: MXCSR; probes/calls.py sets it as such a library does",
        code="torch.set_flush_denormal(True)    # or load the same library; before threads are started",
    ),
)  # fmt: skip

BY_NAME = {setting.name: setting for setting in SETTINGS}


def either(a: Measured, b: Measured, components: list[str]) -> tuple[Measured, Values]:
    """The side that can imitate the other by variables, and these: the second side if it can, else the first."""
    for here, there in ((b, a), (a, b)):
        found = derive(here, there, components)
        if found and all(BY_NAME[name].how == "variable" for name in found):
            return here, found
    return b, {}


def derive(here: Measured, there: Measured, components: list[str]) -> Values:
    """The settings under which `here` should give the bits of `there`, for these components; {} if it cannot."""
    found: Values = {}
    able = downwards(here, there)
    for setting in SETTINGS:
        if setting.of_cpu and not able:
            continue
        wanted, have = there.fact(setting.fact), here.fact(setting.fact)
        libraries = {side.fact("blas.implementation") for side in (here, there)} if setting.library else set()
        if setting.decides(components) and wanted != have and libraries <= {setting.library}:
            value = setting.derive(wanted, have, here)
            if value is not None:
                found[setting.name] = value
    return found


def others(here: Measured, component: str) -> list[Values]:
    """Every value of every setting of a component that is possible here, one setting at a time."""
    return [{one.name: value} for one in SETTINGS if one.decides([component]) for value in one.values(here)]


def downwards(here: Measured, there: Measured) -> bool:
    """Whether this CPU has every vector extension of the other: imitation works downwards only."""
    machines = [side.fact("cpu.machine") for side in (here, there)]
    return machines[0] == machines[1] and cpu(there) <= cpu(here)


def level(side: Measured, left: frozenset[str]) -> Values:
    """The variables under which a side uses no vector extension but those that are left."""
    found = {setting.name: setting.under(side, left) for setting in SETTINGS if setting.under}
    return {name: value for name, value in found.items() if value is not None}


def variables(values: Values) -> Values:
    return {name: value for name, value in values.items() if BY_NAME[name].how == "variable"}


def calls(values: Values) -> Values:
    return {name: value for name, value in values.items() if BY_NAME[name].how == "call"}


def shell(values: Values) -> str:
    """The words in front of a command under which it runs with these variables; "" for none."""
    words = [f"-u {name}" for name, value in values.items() if not value]
    words += [f"{name}={shlex.quote(value)}" for name, value in values.items() if value]
    return "env " + " ".join(words) if words else ""
