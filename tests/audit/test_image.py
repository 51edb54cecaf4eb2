"""What is joined to an image's report from outside: recipes without their secrets, and what the engine says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audit.targets import history, image
from reports import codec
from reports.catalogue import catalogue
from reports.report import Facts

if TYPE_CHECKING:
    from docker import DockerClient

SECRET = "qz7kanari"


# -- recipes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told", "open_"),
    [
        ("/bin/sh -c pip install torch numpy==2.3.5", "RUN pip install torch numpy==2.3.5", ["torch: no version"]),
        ("RUN /bin/sh -c pip3 install 'a>=1.2,<2' # buildkit", "RUN pip3 install a>=1.2,<2",
         ["a>=1.2,<2: no exact version"]),
        ("/bin/sh -c apt-get update && apt-get install -y --no-install-recommends libstdc++6 libblas3=3.11.0-2"
         " && rm -rf /var/lib/apt/lists/*",
         "RUN apt-get install libstdc++6 libblas3=3.11.0-2", ["libstdc++6: no version"]),
        ("/bin/bash -o pipefail -c python3 -m pip install -U scipy==1.*", "RUN pip install scipy==1.*",
         ["scipy==1.*: no exact version"]),
        ("/bin/sh -c conda install -y -c conda-forge numpy=1.26 scipy=1.11.4 conda-forge::mkl",
         "RUN conda install numpy=1.26 scipy=1.11.4 mkl", ["numpy=1.26: no exact version", "mkl: no version"]),
        ("/bin/sh -c uv pip install --system jax[cuda12]==0.4.1", "RUN uv pip install jax[cuda12]==0.4.1", []),
        ("/bin/sh -c apk add --no-cache py3-numpy=1.26.4-r1", "RUN apk add py3-numpy=1.26.4-r1", []),
        ("/bin/sh -c apt-get -y dist-upgrade", "RUN apt-get dist-upgrade", ["no versions"]),
        ('RUN ["pip", "install", "six"]', "RUN pip install six", ["six: no version"]),
        ("/bin/sh -c sudo pip install -r requirements.txt", "RUN pip install (not recorded)", []),
        ("/bin/sh -c #(nop)  ENV OMP_NUM_THREADS=4 PATH=/x", "ENV OMP_NUM_THREADS=4", []),
        ("/bin/sh -c #(nop) COPY file:61f4 in /a", "COPY (not recorded)", []),
        ('CMD ["python3"]', "CMD (not recorded)", []),
        ("# debian.sh --arch 'amd64' out/ 'bookworm'", "(not recorded)", []),
        ("/bin/sh -c pip install 'never ends", "RUN (not recorded)", []),
        ("/bin/sh -c " + "pip install a; " * 9000, "RUN (not recorded)", []),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_line_keeps_installers_and_packages(line: str, told: str, open_: list[str]) -> None:
    assert history.recorded(line) == told
    tools = [one.tool for one in history.installs(history.instruction(line)[1])][-1:]
    words = [f"{tools[0]}{':' if one.startswith('no ') else ''} {one}" for one in open_]
    assert history.unpinned(*history.instruction(line)) == words


@pytest.mark.parametrize(
    "line",
    [
        f"|2 TOKEN={SECRET} MORE=/bin/sh -c pip install {SECRET} /bin/sh -c pip install six",
        f"RUN |1 TOKEN={SECRET} /bin/sh -c true # buildkit",
        f"|1 TOKEN={SECRET} no shell at all",
        f"/bin/sh -c pip install --index-url https://me:{SECRET}@host/simple six",
        f"/bin/sh -c pip install --password {SECRET} --unknown {SECRET} -i {SECRET} six",
        f"/bin/sh -c pip install git+https://{SECRET}@host/x six@https://{SECRET} ./{SECRET}",
        f"/bin/sh -c TOKEN={SECRET} pip install six==1.0+{SECRET} 'six=={SECRET}'",
        f"/bin/sh -c pip install six # {SECRET}; pip install {SECRET}\necho {SECRET} > {SECRET}",
        f"/bin/sh -c echo {SECRET} | tee /etc/{SECRET}; curl -H 'Authorization: {SECRET}' host",
        f"/bin/sh -c pip config set global.index-url {SECRET}; pip download {SECRET}",
        f"/bin/sh -c apt-get install -o Acquire::http::Proxy=http://u:{SECRET}@h six=1:{SECRET}",
        f"/bin/sh -c conda install -c https://{SECRET}@host numpy=1.26.4={SECRET}",
        f"/bin/sh -c #(nop)  ENV API_KEY={SECRET} OMP_NUM_THREADS={SECRET} 'TZ={SECRET} x'",
        f"ENV {SECRET}=1 GLIBC_TUNABLES={SECRET}",
        f"LABEL a={SECRET}",
        f"ARG TOKEN={SECRET}",
        f"/bin/sh -c #(nop) WORKDIR /home/{SECRET}",
        f"{SECRET} {SECRET}",
        "/bin/sh -c pip install ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    ],
)
def test_no_secret_is_recorded(line: str) -> None:
    told = history.recorded(line) + str(history.unpinned(*history.instruction(line)))
    assert SECRET not in told
    assert "ghp" not in told


# -- every fact, of engines and containers of many kinds --------------------------------------------------------------


def known(host: dict[str, Any] | None = None, **parts: Any) -> Any:
    config = {"User": "", "Entrypoint": None, "Env": None}
    inspected = {
        "Id": "sha256:" + "1" * 64,
        "Architecture": "amd64",
        "Os": "linux",
        "RootFS": {"Layers": ["sha256:" + "2" * 64]},
        "Config": {**config, **parts.pop("config", {})},
        **parts.pop("image", {}),
    }
    info = {"Architecture": "x86_64", "Driver": "overlay2", "SecurityOptions": ["name=seccomp,profile=default"]}
    version = {"Version": "28.0.1", "Components": [{"Name": "Engine"}]}
    return image._Known(inspected, [], {**info, **parts.pop("info", {})}, {**version, **parts}, host or {})


def told(fact: str, one: Any) -> object:
    (reading,) = [reading for name, _, reading in image.READINGS if name == fact]
    return reading(one)


@pytest.mark.parametrize(
    ("fact", "value", "one"),
    [
        ("image.id", "1" * 12, known()),
        ("image.store", "graph: overlay2", known()),
        ("image.store", "containerd: overlayfs",
         known(info={"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]})),
        ("image.platform", "linux/arm64/v8", known(image={"Architecture": "arm64", "Variant": "v8"})),
        ("image.emulated", True, known(image={"Architecture": "arm64"})),
        ("image.emulated", False, known(image={"Architecture": "386"})),
        ("image.digests", ["sha256:" + "a" * 64], known(image={"RepoDigests": [f"x/{SECRET}@sha256:{'a' * 64}"]})),
        ("image.env", ["OMP_NUM_THREADS=4", "TZ=(not recorded)"],
         known(config={"Env": [f"TZ={SECRET}", f"KEY={SECRET}", "OMP_NUM_THREADS=4"]})),
        ("image.user", "root", known()),
        ("image.user", "root", known(config={"User": "0:0"})),
        ("image.user", "uid 1000", known(config={"User": "1000"})),
        ("image.user", "not root", known(config={"User": SECRET})),
        ("image.entrypoint", None, known()),
        ("image.entrypoint", "tini", known(config={"Entrypoint": ["/usr/bin/tini", "--", SECRET]})),
        ("image.entrypoint", "(another)", known(config={"Entrypoint": [f"/opt/{SECRET}.sh"]})),
        ("container.runtime", "runc", known()),
        ("container.runtime", "io.containerd.runsc.v1", known({"Runtime": "io.containerd.runsc.v1"})),
        ("container.runtime", "(another)", known({"Runtime": SECRET})),
        ("container.seccomp", "default", known()),
        ("container.seccomp", "unconfined", known({"Privileged": True})),
        ("container.seccomp", "unconfined", known({"SecurityOpt": ["seccomp=unconfined"]})),
        ("container.seccomp", "custom", known({"SecurityOpt": ['seccomp={"names": ["' + SECRET + '"]}']})),
        ("container.seccomp", "none", known(info={"SecurityOptions": None})),
        ("container.seccomp", "(another)", known(info={"SecurityOptions": [f"name=seccomp,profile=/{SECRET}"]})),
        ("container.security", ["apparmor", "no-new-privileges"],
         known({"SecurityOpt": ["no-new-privileges:true", f"label=type:{SECRET}"]},
               info={"SecurityOptions": ["name=apparmor"]})),
        ("container.security", ["apparmor=unconfined", "privileged"],
         known({"Privileged": True, "SecurityOpt": ["apparmor:unconfined", "no-new-privileges:false"]})),
        ("container.capabilities", ["+SYS_PTRACE", "-ALL"],
         known({"CapAdd": ["CAP_SYS_PTRACE"], "CapDrop": ["ALL"]})),
        ("container.network", "(another)", known({"NetworkMode": SECRET})),
        ("container.memory_limit", 1 << 30, known({"Memory": 1 << 30})),
        ("container.memory_limit", None, known({"Memory": 0})),
        ("container.cpu_limit", 1.5, known({"NanoCpus": 1_500_000_000})),
        ("container.cpu_limit", 0.5, known({"CpuQuota": 50_000, "CpuPeriod": 100_000})),
        ("container.cpuset", "0-3", known({"CpusetCpus": "0-3"})),
        ("container.processes_limit", None, known({"PidsLimit": -1})),
        ("container.gpu", False, known({"DeviceRequests": None})),
        ("container.gpu", True, known({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]})),
        ("container.gpu", True, known({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"]}]})),
        ("container.gpu", True, known({"Devices": [{"PathOnHost": "/dev/nvidia0"}]})),
        ("container.gpu", True, known({"Runtime": "nvidia"})),
        ("engine.name", "Podman", known(Components=[{"Name": "Podman Engine"}])),
        ("engine.version", "20.10.24+dfsg1", known(Version="20.10.24+dfsg1")),
        ("engine.rootless", True, known(info={"SecurityOptions": ["name=rootless"]})),
        ("engine.cgroup", "v2, systemd", known(info={"CgroupVersion": "2", "CgroupDriver": "systemd"})),
        ("engine.storage_driver", "(not recorded)", known(info={"Driver": SECRET})),
        ("engine.architecture", "arm64", known(info={"Architecture": "aarch64"})),
    ],
)  # fmt: skip
def test_a_fact_is_told(fact: str, value: object, one: Any) -> None:
    found = told(fact, one)
    assert found == value
    assert type(found) is type(value)


def test_what_an_engine_leaves_out_costs_no_other_fact() -> None:
    bare = image._Known({"Id": "1", "RootFS": {"Layers": []}}, [], {}, {}, {})
    for name, _, reading in image.READINGS:
        assert SECRET not in json.dumps(reading(bare)), name


def test_every_fact_has_its_row_and_every_row_its_fact() -> None:
    from audit.targets import recipe, sif

    given = {name for name, _, _ in image.READINGS} | {"image.layers_searched", "image.*.layer"}
    given |= recipe.NAMES | sif.NAMES
    rows = {row.fact for row in catalogue().rows if row.only == "engine"}
    assert rows == given
    assert {row.kind for row in catalogue().rows if row.only == "engine"} == {"identity", "performance"}
    found = catalogue().find("image.python3.11-minimal.layer")
    assert found
    assert found[1] == "python3.11-minimal"


# -- a real engine ----------------------------------------------------------------------------------------------------


def audit(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    done = subprocess.run(
        [sys.executable, "-m", "audit", *arguments], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def facts(path: Path) -> Facts:
    return codec.read(str(path))[0].targets[-1].facts


@pytest.mark.docker
def test_an_image_is_described_from_outside(engine: DockerClient, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    audit("run", "--quiet", "--job", "none", "--container", "audit-bookworm", "-o", str(file))
    found = facts(file)
    inspected = engine.api.inspect_image("audit-bookworm")
    assert found["image.id"].value == inspected["Id"][7:19]
    assert found["image.layers"].value == [layer[7:19] for layer in inspected["RootFS"]["Layers"]]
    assert found["image.recipe"].value == ["(imported)"]
    assert found["image.emulated"].value is False
    assert found["image.layers_searched"].reason == "facts only"
    assert found["container.network"].value == "none"
    assert found["container.capabilities"].value == ["-ALL"]
    # Limits that the auditor sets are none of the image's: an image is the same on a machine with more memory.
    assert {found[name].reason for name in image.OUR_LIMITS} == {"the auditor's own limit for its containers"}
    shown = audit("show", str(file), "--all").stdout
    assert "image.platform" in shown
    assert "a fact that this auditor does not know" not in audit("diff", str(file), "--all", status=1).stdout


@pytest.fixture
def running(engine: DockerClient) -> Iterator[str]:
    limits = engine.api.create_host_config(mem_limit="1g", nano_cpus=500_000_000, network_mode="none")
    command = ["python3", "-c", "import os, time; open('/opt/libopenblas.so', 'w'); time.sleep(600)"]
    container = engine.api.create_container("audit-bookworm", command, host_config=limits)["Id"]
    engine.api.start(container)
    yield container[:12]
    engine.api.remove_container(container, force=True)


@pytest.mark.docker
def test_a_running_container_is_described_as_it_was_started(running: str, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    audit("run", "--quiet", "--job", "operators", "--repeat", "1", "--exec", running, "-o", str(file))
    found = facts(file)
    assert found["container.memory_limit"].value == found["limits.memory"].value == 1 << 30
    assert found["container.cpu_limit"].value == 0.5
    assert found["container.capabilities"].value == []
    assert found["image.numpy.layer"].value == "1 of 1: (imported)"
    assert found["image.libblas3.layer"].value == "1 of 1: (imported)"


def test_an_engine_that_is_gone_costs_one_fact() -> None:
    import docker

    client = docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.41")
    found = image.Outside(client, "x", dict)({}, lambda words, done, total: None)
    assert set(found) == {"image.id"}
    assert found["image.id"]["status"] in ("absent", "failed")
    client.close()
