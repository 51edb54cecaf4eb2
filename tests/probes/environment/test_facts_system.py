"""Machine, limits, container, locale and variables."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from conftest import Captured, Records

from probes.environment import container, limits, nvml, system, variables
from probes.environment.sources import cgroups, forms
from probes.facts import Absent


class Tree:
    """A recorded cgroup hierarchy under a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.proc = folder / "proc"
        self.proc.mkdir()
        self.mounts: list[str] = []

    def mount(self, point: str, root: str, kind: str, options: str) -> None:
        self.mounts.append(f"30 20 0:1 {root} {self.folder / point} rw,nosuid shared:1 - {kind} none rw,{options}")
        (self.proc / "mountinfo").write_text("\n".join(self.mounts) + "\n")

    def write(self, path: str, content: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content + "\n")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_version_2_takes_the_smallest_limit_on_the_way_up(tree: Tree) -> None:
    tree.mount("cg", "/", "cgroup2", "nsdelegate")
    tree.write("proc/cgroup", "0::/a/b")
    tree.write("cg/cgroup.controllers", "cpu memory pids cpuset")
    tree.write("cg/a/cpu.max", "150000 100000")
    tree.write("cg/a/b/cpu.max", "max 100000")
    tree.write("cg/memory.max", "max")
    tree.write("cg/a/memory.max", "4294967296")
    tree.write("cg/a/b/memory.max", "1073741824")
    tree.write("cg/a/cpuset.cpus.effective", "0-3")
    tree.write("cg/a/b/cpuset.cpus.effective", "")
    proc = str(tree.proc)
    assert cgroups.cpu_quota(proc) == 1.5
    assert cgroups.memory(proc) == 1 << 30
    assert cgroups.cpuset(proc) == "0-3"
    assert cgroups.processes(proc) is None


def test_version_1_in_a_container_without_a_namespace(tree: Tree) -> None:
    tree.mount("cpu", "/docker/ab12", "cgroup", "cpu,cpuacct")
    tree.mount("memory", "/docker/ab12", "cgroup", "memory")
    tree.write("proc/cgroup", "4:memory:/docker/ab12\n3:cpu,cpuacct:/docker/ab12\n0::/")
    tree.write("cpu/cpu.cfs_quota_us", "50000")
    tree.write("cpu/cpu.cfs_period_us", "100000")
    tree.write("memory/memory.limit_in_bytes", "9223372036854771712")
    proc = str(tree.proc)
    assert cgroups.cpu_quota(proc) == 0.5
    assert cgroups.memory(proc) is None
    with pytest.raises(Absent):
        cgroups.cpuset(proc)


def test_an_empty_version_2_tree_beside_version_1_is_passed_over(tree: Tree) -> None:
    tree.mount("unified", "/", "cgroup2", "x")
    tree.mount("cpu", "/", "cgroup", "cpu")
    tree.write("unified/cgroup.controllers", "")
    tree.write("proc/cgroup", "1:cpu:/\n0::/")
    tree.write("cpu/cpu.cfs_quota_us", "-1")
    tree.write("cpu/cpu.cfs_period_us", "100000")
    assert cgroups.levels("cpu", str(tree.proc)) == [str(tree.folder / "cpu")]
    assert cgroups.cpu_quota(str(tree.proc)) is None


def test_affinity_is_what_the_process_may_use(captured: Captured) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no CPU affinity here")
    last = max(os.sched_getaffinity(0))
    records = captured("machine", before=f"import os; os.sched_setaffinity(0, [{last}])")
    assert records["limits.affinity"]["value"] == 1
    assert records["limits.affinity_list"]["value"] == str(last)


@pytest.mark.parametrize(
    ("numbers", "expected"), [([], ""), ([0], "0"), ([0, 1, 2, 8], "0-2,8"), ([1, 3, 4], "1,3-4"), ([0, 2], "0,2")]
)
def test_ranges(numbers: list[int], expected: str) -> None:
    assert limits.ranges(numbers) == expected


def test_a_limit_is_the_soft_one(captured: Captured) -> None:
    before = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
    assert captured("machine", before=before)["limits.core"]["value"] == 0


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian 12"),
        ("ID=arch\nBUILD_ID=rolling\n# ID=x\n", "arch rolling"),
        ("ID=debian\nVERSION_CODENAME=forky\n", "debian forky"),
        ("NAME='x y'\n", "linux"),
    ],
)
def test_release(lines: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "os-release").write_text(lines)
    monkeypatch.setattr(system, "OS_RELEASE", (str(tmp_path / "none"), str(tmp_path / "os-release")))
    assert system._release() == expected


def test_dmi_is_evidence_only_of_virtual_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sys_vendor").write_text("QEMU\n")
    (tmp_path / "product_name").write_text("PowerEdge R750\n")
    monkeypatch.setattr(system, "DMI", str(tmp_path))
    evidence = system.hypervisor()
    assert "DMI sys_vendor: QEMU" in evidence
    assert "PowerEdge" not in json.dumps(evidence)


def test_container_evidence_is_all_of_it_and_names_no_container() -> None:
    path = "0::/kubepods/besteffort/pod1/cri-containerd-0123456789abcdef.scope"
    found = container._named(path, "a control group's path")
    assert container.kinds(found) == ["containerd", "kubernetes"]
    assert "0123" not in json.dumps(found)


def test_container_variables(captured: Captured) -> None:
    records = captured("machine", KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert "kubernetes" in records["container.kind"]["value"]
    assert "10.0.0.1" not in json.dumps(records)


def test_every_allowed_variable_stands_in_every_report(machine: Records) -> None:
    names = [name for name in machine if name.startswith("variables.")]
    assert names == ["variables." + name for name in variables.FORMS]


_XLA = "--xla_cpu_max_isa=AVX2 --xla_dump_to=(not recorded) (not recorded)"
_TUNABLES = "glibc.cpu.hwcaps=-AVX2_Usable,-FMA:(not recorded):glibc.malloc.check=3"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OMP_NUM_THREADS", "4", "4"),
        ("OMP_NUM_THREADS", None, None),
        ("LD_LIBRARY_PATH", "/home/ann/lib", "(set)"),
        ("LD_PRELOAD", "/home/ann/libftz.so:/opt/jemalloc.so", "libftz.so:jemalloc.so"),
        ("TZ", "Europe/Berlin", "Europe/Berlin"),
        ("TZ", ":/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
        ("LD_PRELOAD", "/home/ann,smith/key libx.so", "(not recorded) libx.so"),
        ("TZ", "/home/ann/Europe/Berlin", "(not recorded)"),
        ("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST,M3.5.0,M10.5.0/3"),
        ("XLA_FLAGS", "x" * 600, "(not recorded)"),
        ("XLA_FLAGS", "--xla_cpu_max_isa=AVX2 --xla_dump_to=/a,b/c a b", _XLA),
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8", ":4096:8"),
        ("CUDA_VISIBLE_DEVICES", "0,GPU-8a56a4bc,MIG-GPU-8a56a4bc-e184-a047/1/0", "0,GPU-...,MIG-GPU-.../1/0"),
        ("CUDA_VISIBLE_DEVICES", "hunter2", "(not recorded)"),
        ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2_Usable,-FMA:a=b:c:glibc.malloc.check=3", _TUNABLES),
        ("KMP_AFFINITY", "granularity=fine,compact,1,0", "granularity=fine,compact,1,0"),
        ("LC_ALL", "de_DE.UTF-8@euro", "de_DE.UTF-8@euro"),
        ("LC_ALL", "hunter2", "(not recorded)"),
        ("MKL_CBWR", "AVX2,STRICT", "AVX2,STRICT"),
        ("MKL_DOMAIN_NUM_THREADS", "MKL_DOMAIN_ALL=1, MKL_DOMAIN_BLAS=4", "MKL_DOMAIN_ALL=1, MKL_DOMAIN_BLAS=4"),
        ("NCCL_ALGO", "^Ring,Tree", "^Ring,Tree"),
        ("NPY_DISABLE_CPU_FEATURES", "AVX512_ICL X86_V3 X86_V4", "AVX512_ICL X86_V3 X86_V4"),
        ("NUMBA_CPU_FEATURES", "+avx2,-sse4.1", "+avx2,-sse4.1"),
        ("OMP_PLACES", "{0:4}:8:4", "{0:4}:8:4"),
        ("OMP_SCHEDULE", "dynamic,4", "dynamic,4"),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX", "AVX512_CORE_AMX"),
        ("OPENBLAS_CORETYPE", "SkylakeX", "SkylakeX"),
        ("PYTHONIOENCODING", "utf-8:surrogateescape", "utf-8:surrogateescape"),
        ("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:128,backend:native", "max_split_size_mb:128,backend:native"),
    ],
)
def test_a_variables_value(name: str, value: str | None, expected: str | None) -> None:
    assert variables.shown(name, value) == expected


@pytest.mark.parametrize("name", variables.FORMS)
def test_no_variable_keeps_a_text_that_it_cannot_mean(name: str) -> None:
    for text in ("hunter2", "/home/ann/x", "a,b;c", "user:hunter2@host", "1 hunter2", "hunter2=1", "x" * 100_000):
        shown = variables.shown(name, text) or ""
        assert not re.search("hunter2|ann|user|xxx", shown), shown
        assert len(shown) <= 512
    assert variables.shown(name, "") in ("", "(set)")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        *((same, same) for same in ("1.0", "2.4.0+cu121", "2.1.0a0+29c30b1", "0.1.dev3+g1234567.d20240101", "2004a")),
        *((same, same) for same in ("1.2.3.post1", "2.0.1+rocm5.7", "0.2+computecanada", "1.5+deb12u1", "1!2.0rc1")),
        ("1.0+hunter2.internal", "1.0+(not recorded)"),
        ("hunter2", "(not recorded)"),
    ],
)
def test_a_version(version: str, expected: str) -> None:
    assert forms.version(version) == expected


def test_a_variable_that_is_not_allowed_is_nowhere(captured: Captured) -> None:
    records = captured("machine", OMP_SECRET="hunter2", AWS_SECRET_ACCESS_KEY="hunter3")
    assert "hunter" not in json.dumps(records)


def test_an_empty_environment_gives_the_same_names(captured: Captured, machine: Records) -> None:
    bare = captured("machine", prefix=["env", "-i"])
    assert list(bare) == list(machine)
    assert bare["variables.LANG"]["value"] is None


def test_time_zone(captured: Captured) -> None:
    assert captured("machine", TZ="Asia/Tokyo")["time.zone"]["value"] == "Asia/Tokyo"


def test_a_driver_is_told_by_the_kernels_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-in: the first line of /proc/driver/nvidia/version as NVIDIA's documentation shows it."""
    file = tmp_path / "version"
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  560.35.03  Fri Aug 16 21:39:15 UTC 2024\n")
    monkeypatch.setattr(nvml, "KERNEL_DRIVER", str(file))
    assert nvml._kernel_driver() == "560.35.03"
