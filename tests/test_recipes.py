"""The recipes for Ansible and Kubernetes: they end in a folder of reports, whatever becomes of one host.

The playbook runs over local connections. The manifest is held against Kubernetes' published schemas, and its pod's
command runs in a container of an engine with the pod's restrictions; `kubectl` is a stand-in that asks that engine.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from audit.cli import parser
from audit.fleet.report import fleet
from audit.targets import bundle
from fixtures import many
from reports import codec

if TYPE_CHECKING:
    from docker import DockerClient

RECIPES = Path(__file__).parent.parent / "recipes"
DAEMONS, POLICY = yaml.safe_load_all((RECIPES / "kubernetes" / "audit.yml").read_text("utf-8"))
POD: dict[str, Any] = DAEMONS["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.fixture
def probes(tmp_path: Path) -> Path:
    file = tmp_path / "probes.pyz"
    file.write_bytes(bundle.pyz())
    return file


# Ansible

INVENTORY = """
[cluster]
n1
n2 audit_options='["--job", "operators"]'
n3 audit_python=/nowhere/python3
n4 ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1
n5 audit_python={slow} audit_seconds=1
[cluster:vars]
ansible_connection=local
ansible_python_interpreter={python}
audit_python={python}
audit_options=["--job", "python"]
"""


def test_the_playbook_gathers_what_it_can_and_leaves_nothing(
    probes: Path, tmp_path: Path, lacking: Callable[[str], None]
) -> None:
    if not shutil.which("ansible-playbook"):
        lacking("no ansible-playbook; .ci/run installs ansible-core")
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    hosts = tmp_path / "hosts"
    hosts.write_text(INVENTORY.format(python=sys.executable, slow=slow))
    places = {name: tmp_path / name.lower() for name in ("TMPDIR", "ANSIBLE_LOCAL_TEMP", "ANSIBLE_REMOTE_TEMP", "HOME")}
    for place in places.values():
        place.mkdir()
    folder = tmp_path / "nodes"
    done = subprocess.run(
        [
            *("ansible-playbook", "-i", str(hosts), str(RECIPES / "ansible" / "audit.yml")),
            *("-e", f"bundle={probes}", "-e", f"folder={folder}"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **{name: str(place) for name, place in places.items()}, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    assert done.returncode != 0  # hosts failed, and a scheduler is to know it
    assert sorted(path.name for path in folder.iterdir()) == ["expected.txt", "n1.json", "n2.json"], done.stdout
    assert (folder / "expected.txt").read_text() == "n1\nn2\nn3\nn4\nn5\n"
    for label in ("n1", "n2"):
        assert codec.read(str(folder / f"{label}.json"))[0].label == label
    assert list(places["TMPDIR"].glob("audit-*")) == []
    found = fleet(str(folder), expect=["n1", "n2", "n3", "n4", "n5"])
    assert [(one.kind, one.labels) for one in found.findings if one.kind == "missing"] == [
        ("missing", ["n3", "n4", "n5"])
    ]


# Kubernetes


@pytest.mark.parametrize("version", ["1.28", "1.37"])
def test_the_manifest_fits_the_published_schemas(version: str, lacking: Callable[[str], None]) -> None:
    try:
        import kubernetes_validate
    except ImportError:
        lacking("no kubernetes-validate, which holds the schemas")
    for document in (DAEMONS, POLICY):
        kubernetes_validate.validate(document, version, strict=True)
    misspelt = {**DAEMONS, "spec": {**DAEMONS["spec"], "selectors": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, version, strict=True)


def test_a_pod_runs_on_every_node_with_no_rights_and_no_network() -> None:
    assert {"operator": "Exists"} in POD["tolerations"]
    assert POD["securityContext"]["runAsNonRoot"]
    assert not CONTAINER["securityContext"]["allowPrivilegeEscalation"]
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not any("hostPath" in volume for volume in POD["volumes"])
    assert not {"hostNetwork", "hostPID", "hostIPC"} & POD.keys()
    labels = DAEMONS["spec"]["template"]["metadata"]["labels"]
    assert POLICY["spec"] == {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress", "Egress"]}
    assert DAEMONS["spec"]["selector"]["matchLabels"] == labels


def test_the_probes_fit_a_config_map(probes: Path) -> None:
    """Source: Kubernetes, ConfigMaps: "The data stored in a ConfigMap cannot exceed 1 MiB"."""
    assert probes.stat().st_size < 2**20 * 3 // 4  # it is kept in base64


@pytest.fixture
def pod(engine: DockerClient, probes: Path) -> Iterator[Callable[[str, str], str]]:
    """A function that starts the pod of a node as Kubernetes would: the container's command, variables, volumes and
    restrictions; its name. image: the one that is trained in."""
    made = []
    rights, user = CONTAINER["securityContext"], POD["securityContext"]
    mounts = {one["name"]: one["mountPath"] for one in CONTAINER["volumeMounts"]}

    def start(node: str, image: str) -> str:
        name = f"audit-test-{secrets.token_hex(4)}"
        variables = {one["name"]: one.get("value", node) for one in CONTAINER["env"]}
        started = engine.containers.create(
            image,
            [*CONTAINER["command"], *CONTAINER["args"]],
            name=name,
            environment=variables,
            user=f"{user['runAsUser']}:{user['runAsGroup']}",
            read_only=rights["readOnlyRootFilesystem"],
            cap_drop=rights["capabilities"]["drop"],
            security_opt=["no-new-privileges"],
            network_mode="none",
            tmpfs={mounts["report"]: "mode=1777,size=128m"},
            volumes=[f"{probes}:{mounts['probes']}/probes.pyz:ro"],
        )
        made.append(started)
        started.start()
        return name

    yield start
    for one in made:
        one.remove(force=True)


KUBECTL = """#!/bin/sh
# A stand-in: the nodes and pods of a file, and containers for pods.
case "$1 $2" in
"get nodes") while read -r pod node; do echo "$node"; done <{pods} ;;
"get pods") cat {pods} ;;
exec*) shift; exec docker exec "$1" "$3" "$4" ;;
*) exit 64 ;;
esac
"""


@pytest.mark.docker
def test_pods_give_their_reports(pod: Callable[[str, str], str], engine: DockerClient, tmp_path: Path) -> None:
    pods = {pod("node-1", "audit-bookworm"): "node-1", pod("node-2", "audit-trixie"): "node-2"}
    ready = CONTAINER["readinessProbe"]["exec"]["command"]
    deadline = time.monotonic() + 240
    for name in pods:
        while engine.containers.get(name).exec_run(ready).exit_code:
            assert time.monotonic() < deadline, engine.containers.get(name).logs().decode()
            time.sleep(1)
    listed = tmp_path / "pods"
    listed.write_text("".join(f"{name} {node}\n" for name, node in {**pods, "audit-gone": "node-3"}.items()))
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "kubectl").write_text(KUBECTL.format(pods=listed))
    (tools / "kubectl").chmod(0o755)
    done = subprocess.run(
        ["sh", str(RECIPES / "kubernetes" / "gather.sh"), "nodes"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        check=True,
    )
    folder = tmp_path / "nodes"
    assert sorted(path.name for path in folder.iterdir()) == ["expected.txt", "node-1.json", "node-2.json"]
    assert "no report of node-3; see: kubectl logs audit-gone" in done.stderr
    assert (folder / "expected.txt").read_text().split() == ["node-1", "node-2", "node-3"]
    for node in pods.values():
        report = codec.read(str(folder / f"{node}.json"))[0]
        assert report.label == node
        assert report.targets[0].incomplete == []


# docs/fleets.md


def test_every_command_of_the_documentation_is_one() -> None:
    text = (RECIPES.parent / "docs" / "fleets.md").read_text("utf-8")
    commands = re.findall(r"^\$ (audit .*)$|`(audit [a-z]+ [^`]*)`", text, re.MULTILINE)
    named = [next(filter(None, found)) for found in commands]
    assert len(named) >= 12
    for command in named:
        parser().parse_args(shlex.split(command)[1:])
    files = re.findall(r"recipes/[\w./]+\b", text)
    assert set(files) == {str(one.relative_to(RECIPES.parent)) for one in RECIPES.rglob("*.*")}
    assert all((RECIPES.parent / name).is_file() for name in files)


def test_racks_are_held_against_each_other_as_the_documentation_says(tmp_path: Path) -> None:
    """Three racks of three nodes; those of one are emulated."""
    text = (RECIPES.parent / "docs" / "fleets.md").read_text("utf-8")
    (script,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for name, numbers in (("rack1", (0, 1, 2)), ("rack2", (3, 103, 203)), ("rack3", (4, 5, 6))):
        (tmp_path / "racks" / name).mkdir(parents=True)
        for number in numbers:
            (tmp_path / "racks" / name / f"{many.label(number)}.json").write_bytes(many.report(number))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[0].startswith("racks/rack2/: status 3")  # an operator crashes under the emulator
    assert "ONE ODD NODE IN 3. node00003 gives other bits than the 2 nodes nearest to it." in done.stdout
