"""BLAS, LAPACK and OpenMP in effect: which library numpy calls, the code path it chose, its threads.

numpy's is `blas.*`; another BLAS in the same process (scipy's, torch's) is `blas.<library>.*`. threadpoolctl reads
them; it does not know reference BLAS, so a library that numpy links and threadpoolctl does not know is asked directly.
"""

import ctypes
import os
import platform
import re
import struct
import sys
from functools import partial
from typing import Any, Dict, List, Optional, Tuple

from ..facts import Absent, Facts
from .sources import elf, mapped, native

SCOPE = "effect"
_PROPERTIES = ("implementation", "version", "kernel", "kernel_blocks", "threads", "threading", "owner", "build_id")
_LAPACK_PROPERTIES = ("implementation", "version", "owner", "build_id")
NAMES = (
    tuple("blas." + name for name in _PROPERTIES)
    + tuple("lapack." + name for name in _LAPACK_PROPERTIES)
    + ("openmp.implementation", "openmp.threads")
)

Library = Dict[str, Any]
"""What is known of one library: path, name, and those of _PROPERTIES that could be read (others None)."""

_FOR_AVX512 = ("SkylakeX", "Cooperlake", "SapphireRapids")

_SIDE, _DEPTH = 32, 2048
"""Of the product that shows OpenBLAS's blocks: more than its code for small ones takes, and twice the largest block."""

_LOOKS_LIKE_BLAS = re.compile(r"blas|lapack|mkl|blis|atlas|armpl|nvpl", re.IGNORECASE)
# Source: mkl_types.h / mkl_cbwr.h, MKL_CBWR_*
_MKL_BRANCHES = {
    3: "COMPATIBLE", 4: "SSE2", 6: "SSSE3", 7: "SSE4_1", 8: "SSE4_2", 9: "AVX", 10: "AVX2", 11: "AVX512_MIC",
    12: "AVX512", 13: "AVX512_MIC_E1", 14: "AVX512_E1", 15: "AVX512_E2", 16: "AVX512_E3", 17: "AVX512_E4",
}  # fmt: skip


def capture(facts: Facts, options: Any = None) -> None:
    """Record this facet's facts. The libraries facet runs first: owners and build-ids are taken from it."""
    known, openmp = _known()
    links = _links()
    used = _choose(links, known, "blas") or _accelerate()
    _record(facts, "blas", used, _PROPERTIES)
    _record(facts, "lapack", _choose(links, known, "lapack") or used, _LAPACK_PROPERTIES)
    for library in known:
        if used is None or library["path"] != used["path"]:
            _record(facts, "blas." + library["name"], library, _PROPERTIES)
    _record_openmp(facts, openmp)


def _record(facts: Facts, key: str, library: Optional[Library], properties: Tuple[str, ...]) -> None:
    for name in properties:
        if library is None:
            facts.missing("{}.{}".format(key, name), "absent", _no_blas())
            continue
        value = library.get(name)
        if name == "kernel_blocks":
            facts.read(key + ".kernel_blocks", "products of ones", partial(_blocks, library))
            continue
        if name in ("owner", "build_id"):
            value = facts.value("libraries.{}.{}".format(library["name"], name))
        if value is None:
            facts.missing("{}.{}".format(key, name), "absent", "{} does not tell".format(library["implementation"]))
        else:
            facts.add("{}.{}".format(key, name), value, library["source"])


def _no_blas() -> str:
    if sys.modules.get("numpy") is None:
        return "this process did not import numpy"
    return "no BLAS that numpy links was recognised in this process"


def _record_openmp(facts: Facts, found: List[Library]) -> None:
    if not found:
        for name in ("implementation", "threads"):
            facts.missing("openmp." + name, "absent", "this process loaded no OpenMP runtime")
    for index, library in enumerate(found):
        key = "openmp" if index == 0 else "openmp." + library["name"]
        facts.add(key + ".implementation", library["implementation"], library["source"])
        facts.add(key + ".threads", library["threads"], library["source"])


# -- what is loaded -------------------------------------------------------------------------------------------------


def _known() -> Tuple[List[Library], List[Library]]:
    """BLAS and OpenMP libraries of this process, each list sorted by path."""
    try:
        import threadpoolctl

        os.getcwd()  # in a folder that is gone it fails inside a callback, whose exceptions Python prints
    except (ImportError, FileNotFoundError):
        return _without_threadpoolctl(), []
    blas, openmp = [], []
    for entry in threadpoolctl.threadpool_info():
        library = {
            "path": os.path.realpath(entry["filepath"]),
            "name": mapped.name(entry["filepath"]),
            "implementation": entry["internal_api"],
            "version": entry.get("version"),
            "kernel": entry.get("architecture"),
            "threads": entry.get("num_threads"),
            "threading": entry.get("threading_layer"),
            "source": "threadpoolctl",
        }
        if entry["user_api"] == "openmp":
            library["implementation"] = entry["prefix"]
            openmp.append(library)
        elif entry["user_api"] == "blas":
            if entry["internal_api"] == "mkl":
                library["kernel"] = _mkl_branch(entry["filepath"])
            blas.append(library)
    return sorted(blas, key=_path), sorted(openmp, key=_path)


def _path(library: Library) -> str:
    return str(library["path"])


def _mkl_branch(path: str) -> Optional[str]:
    """MKL's code branch. threadpoolctl does not read it."""
    library = ctypes.CDLL(path)
    for symbol in ("MKL_CBWR_Get_Auto_Branch", "mkl_serv_cbwr_get_auto_branch"):
        function = getattr(library, symbol, None)
        if function is not None:
            code = int(function())
            return _MKL_BRANCHES.get(code, "branch {}".format(code))
    return None


def _without_threadpoolctl() -> List[Library]:
    """OpenBLAS read by its own functions, for an interpreter that threadpoolctl does not travel to."""
    try:
        candidates = [path for path in mapped.paths() if "openblas" in os.path.basename(path).lower()]
    except Absent:
        return []
    return [library for library in map(inspect, candidates) if library["implementation"] == "openblas"]


def inspect(path: str) -> Library:
    """What a mapped BLAS or LAPACK says of itself. Reference implementations have no functions to ask."""
    library: Library = {"path": path, "name": mapped.name(path), "source": "the library's own functions"}
    handle = ctypes.CDLL(path)
    config = _openblas(handle, "get_config", ctypes.c_char_p)
    if config is not None:
        words = config.decode("ascii", "replace").split()
        kernel = _openblas(handle, "get_corename", ctypes.c_char_p)
        threading = {0: "disabled", 1: "pthreads", 2: "openmp"}
        library.update(
            implementation="openblas",
            version=words[1] if words[0] == "OpenBLAS" else None,
            kernel=kernel.decode("ascii", "replace") if kernel else None,
            threads=_openblas(handle, "get_num_threads", ctypes.c_int),
            threading=threading.get(_openblas(handle, "get_parallel", ctypes.c_int)),
        )
        return library
    for symbol, implementation in (
        ("MKL_Get_Version", "mkl"),
        ("bli_info_get_version_str", "blis"),
        ("ATL_buildinfo", "atlas"),
        ("flexiblas_get_version", "flexiblas"),
        ("armplversion", "armpl"),
    ):
        if hasattr(handle, symbol):
            library.update(implementation=implementation, version=mapped.version(path))
            return library
    # What Debian's libblas3 and liblapack3 are: Netlib's Fortran, one thread, one code path.
    library.update(
        implementation="reference", version=mapped.version(path), kernel="reference", threads=1, threading="disabled"
    )
    library["source"] = "the mapped file's name and symbols"
    return library


def _openblas(handle: Any, function: str, result: Any) -> Any:
    found, _ = _exported(handle, "openblas_" + function)
    if found is None:
        return None
    found.restype = result
    return found()


def _exported(handle: Any, function: str) -> Tuple[Any, str]:
    """A function of OpenBLAS and the suffix of its name; None and "" where the library has it not."""
    # A wheel's OpenBLAS prefixes and suffixes its symbols, so that two can live in one process.
    for prefix in ("", "scipy_"):
        for suffix in ("", "64_", "_64", "64"):
            found = getattr(handle, prefix + function + suffix, None)
            if found is not None:
                return found, suffix
    return None, ""


# -- how it adds ----------------------------------------------------------------------------------------------------


def _blocks(library: Library) -> str:
    """How many products OpenBLAS adds up before it adds them to the result, "f32 448, f64 384": its GEMM_Q. Each block
    is rounded once more, so others are other bits, and the name of the code path does not tell: since 0.3.34 it goes by
    the maker and the caches of the processor, too (kernel/setparam-ref.c, OpenMathLib/OpenBLAS#6021)."""
    if library["implementation"] != "openblas":
        raise Absent("{} does not tell".format(library["implementation"]))
    if _overruns(library):
        raise Absent("a product may end the process (OpenMathLib/OpenBLAS#6021); OPENBLAS_L2_SIZE=512 prevents it")
    handle = ctypes.CDLL(library["path"])
    sizes = (("f32", "cblas_sgemm", "f", 2.0**24), ("f64", "cblas_dgemm", "d", 2.0**53))
    return ", ".join(
        "{} {}".format(name, _block(handle, function, letter, large)) for name, function, letter, large in sizes
    )


def _overruns(library: Library) -> bool:
    """Whether a product may write behind its buffers: from 0.3.34 on, a processor with these caches gets the blocks
    that are best for AVX-512, and so does code for another, asked for, that has smaller buffers (the same issue)."""
    numbers = [int(word) for word in re.findall(r"\d+", str(library["version"]))]
    if numbers < [0, 3, 34] or library["kernel"] in _FOR_AVX512 or os.environ.get("OPENBLAS_L2_SIZE"):
        return False
    try:
        caches = native.cpuid(0x80000006)
        avx512 = native.cpuid(7).ebx >> 16 & 1
        amd = native.cpuid(0).ecx == int.from_bytes(b"cAMD", "little")
    except Absent:
        return False
    return bool(amd and avx512 and caches.ecx >> 16 == 1024 and (caches.edx >> 18) * 512 % 32768 == 0)


def _block(handle: Any, function: str, letter: str, large: float) -> int:
    """The first of every sum is so large that adding 1 to it changes nothing: what is missing in the end was added in
    its block. A sum may be spread over registers, of which only one has the large number: the least result counts."""
    element = {"f": ctypes.c_float, "d": ctypes.c_double}[letter]
    found, suffix = _exported(handle, function)
    if found is None:
        raise Absent("the library has no {}".format(function))
    config = _openblas(handle, "get_config", ctypes.c_char_p) or b""
    size = ctypes.c_int64 if "64" in suffix or b"USE64BITINT" in config else ctypes.c_int32
    ones = struct.pack("=" + letter, 1.0) * (_SIDE * _DEPTH)
    row = struct.pack("=" + letter, large) + ones[: (_DEPTH - 1) * ctypes.sizeof(element)]
    matrix = element * (_SIDE * _DEPTH)
    result = (element * (_SIDE * _SIDE))()
    found.restype = None
    found(
        *(ctypes.c_int(word) for word in (101, 111, 111)),  # CblasRowMajor, CblasNoTrans twice
        *(size(_SIDE), size(_SIDE), size(_DEPTH)),
        *(element(1.0), matrix.from_buffer_copy(row * _SIDE), size(_DEPTH)),
        *(matrix.from_buffer_copy(ones), size(_SIDE), element(0.0), result, size(_SIDE)),
    )
    return _DEPTH - int(min(result) - large)


# -- which of them numpy calls --------------------------------------------------------------------------------------


def _links() -> List[str]:
    """Paths of the BLAS and LAPACK libraries that numpy's extension modules link, as mapped; may be empty."""
    if sys.modules.get("numpy") is None:
        return []
    try:
        paths = mapped.paths()
    except Absent:
        return []
    needed: List[str] = []
    for path in paths:
        inner = mapped.module_path(path) or ""
        if re.match(r"numpy/(_?core/_multiarray_umath|linalg/(_umath_linalg|lapack_lite))\.", inner):
            needed.extend(name for name in _needed(path) if _LOOKS_LIKE_BLAS.search(name))
    by_soname = {_soname(path): path for path in paths if _LOOKS_LIKE_BLAS.search(path)}
    return [by_soname[name] for name in needed if name in by_soname]


def _needed(path: str) -> Tuple[str, ...]:
    try:
        return elf.read(path).needed
    except (Absent, OSError):
        return ()


def _soname(path: str) -> str:
    try:
        return elf.read(path).soname or os.path.basename(path)
    except (Absent, OSError):
        return os.path.basename(path)


def _choose(links: List[str], known: List[Library], part: str) -> Optional[Library]:
    """numpy's library for one part ("blas" or "lapack"), or None."""
    if sys.modules.get("numpy") is None:
        return None
    by_path = {library["path"]: library for library in known}
    for path in sorted(links, key=lambda path: (part not in os.path.basename(path), path)):
        # Debian's libblas.so.3 of an OpenBLAS package is a shell around libopenblas.so.0.
        inner = [library for library in known if os.path.basename(library["path"]) in _needed(path)]
        inner += [library for library in known if _soname(library["path"]) in _needed(path)]
        if os.path.realpath(path) in by_path:
            return by_path[os.path.realpath(path)]
        return inner[0] if inner else inspect(path)
    folder = os.path.dirname(os.path.realpath(sys.modules["numpy"].__file__ or ""))
    return next((library for library in known if library["path"].startswith(folder)), None)


def _accelerate() -> Optional[Library]:
    """Apple's BLAS, which no library in the process tells of: numpy's build configuration does."""
    if sys.platform != "darwin" or sys.modules.get("numpy") is None:
        return None
    built = getattr(sys.modules.get("numpy.__config__"), "CONFIG", {}).get("Build Dependencies", {})
    if built.get("blas", {}).get("name") != "accelerate":
        return None
    version = platform.mac_ver()[0]
    return {"path": "", "name": "Accelerate", "implementation": "accelerate", "version": version, "source": "numpy"}
