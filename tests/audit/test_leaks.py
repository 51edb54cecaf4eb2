"""Nothing leaks: secrets are planted wherever a probe could meet one, the audit runs for real, and none is found in the
report or in any rendering of it, neither as it is nor encoded, reversed or as a short digest.

A report is the file that people hand to strangers. What a person typed may come back on their own terminal; it is never
in the report, and not in what is made to be pasted (Markdown).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
import site
import subprocess
import sys
import urllib.parse
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from probes.environment import variables

ROOT = Path(__file__).parent.parent.parent
MACHINES = ROOT / "fixtures" / "machines"

CANARY = "qz7kanari"
"""What every planted secret begins with. Behind it stands where it was planted, so that a leak names its source."""

HOST_NAME, USER_NAME = f"{CANARY}-host", f"{CANARY}-user"

STARTS_NOTHING = {"PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONIOENCODING", "PYTHONUTF8", "NPY_ENABLE_CPU_FEATURES"}
"""Variables whose senseless value ends Python before any probe runs, or keeps numpy from being imported."""


# -- looking ----------------------------------------------------------------------------------------------------------


def spellings(secret: str) -> Iterator[str]:
    """A secret as it is, reversed, and as encoders write it; base64 at each of its three alignments."""
    data = secret.encode()
    yield from (secret, secret[::-1], data.hex(), urllib.parse.quote(secret, safe=""), secret.translate(_ROT13))
    yield "".join(f"%{byte:02x}" for byte in data)
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + data).decode()
        yield whole[(0, 2, 3)[shift] : len(whole) // 4 * 4 - 4]


_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ROT13 = str.maketrans(_LETTERS, _LETTERS[13:] + _LETTERS[:13])


def digests(secret: str) -> Iterator[str]:
    """Beginnings of unsalted digests of a name: who guesses the name can check the guess with these."""
    for text in {secret, secret.upper(), secret + "\n"}:
        data = text.encode()
        names = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b", "blake2s")
        whole = [hashlib.new(name, data).digest() for name in names]
        whole += [hashlib.blake2b(data, digest_size=size).digest() for size in range(3, 33)]
        whole += [zlib.crc32(data).to_bytes(4, "big"), zlib.crc32(data).to_bytes(4, "little")]
        for digest in whole:
            yield digest.hex()[:8]
            yield base64.b64encode(digest).decode()[:8]


def identity_of_this_machine() -> dict[str, str]:
    """What really names this machine, as its kernel tells it; without what is too short to be looked for."""
    files = [Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id"), Path("/etc/hostname")]
    files += [Path("/sys/class/dmi/id") / name for name in ("product_uuid", "product_serial", "board_serial")]
    files += [path for path in Path("/sys/class/net").glob("*/address") if "/lo/" not in str(path)]
    found = {}
    for path in files:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if len(text) >= 8 and not re.fullmatch(r"[0:]+", text):
            found[str(path)] = text
            found[f"{path}, plain"] = re.sub("[-:]", "", text)
    return found


def leaks(text: str) -> list[str]:
    """Every secret that `text` holds, with what stands around it."""
    lower = text.lower()
    found = []
    for spelling in {spelling.lower() for spelling in spellings(CANARY)}:
        found += [lower[max(0, at.start() - 60) : at.end() + 40] for at in re.finditer(re.escape(spelling), lower)]
    for name in (HOST_NAME, USER_NAME):
        found += [f"a digest of {name}: {digest}" for digest in digests(name) if digest in text]
    found += [where for where, secret in identity_of_this_machine().items() if secret.lower() in lower]
    return found


def test_the_search_finds_what_is_there() -> None:
    for hidden in spellings(f"password={CANARY}="):
        assert leaks(f"x{hidden}x") or CANARY not in hidden
    for hidden in (
        base64.b64encode(f"a{CANARY}bc".encode()).decode(),
        base64.b64encode(f"ab{CANARY}bc".encode()).decode(),
        f"{CANARY}"[::-1],
        hashlib.sha256(HOST_NAME.encode()).hexdigest()[:12],
        hashlib.blake2b(USER_NAME.encode(), digest_size=4).hexdigest(),
    ):
        assert leaks(f"x {hidden} x"), hidden
    assert leaks("nothing") == []


# -- planting ---------------------------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A machine full of secrets. prefix: what gives it its host and user name; files: what it wrote."""

    folder: Path
    python: Path
    environment: dict[str, str]
    prefix: list[str]
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        return self.folder / f"{CANARY}-work"

    def run(self, name: str, *command: str, status: int = 0, **more: str) -> str:
        """Standard output of a command there; both of its streams are kept under `name`."""
        done = subprocess.run(
            [*self.prefix, *command],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            cwd=self.work,
            env={**self.environment, **more},
            check=False,
        )
        assert done.returncode == status, done.stderr
        self.texts[f"{name}, standard output"] = done.stdout
        self.texts[f"{name}, standard error"] = done.stderr
        return done.stdout

    def audit(self, name: str, *arguments: str, status: int = 0, **more: str) -> str:
        return self.run(name, sys.executable, "-m", "audit", *arguments, status=status, **more)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("machine")
    for name in ("home", "work", "tmp", "bin", "libs"):
        (folder / f"{CANARY}-{name}").mkdir()
    python = environment_of_secrets(folder)
    scene = Scene(folder, python, poisoned(folder), [])
    scene.prefix = names_of_secrets(folder, scene.environment)
    plant_in_home_and_work(scene)
    return scene


def environment_of_secrets(folder: Path) -> Path:
    """A virtual environment in a folder with a secret, numpy and its libraries in it, and packages with secrets."""
    place = folder / f"{CANARY}-env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    packages = next(place.glob("lib/python*/site-packages"))
    source = Path(site.getsitepackages()[0])
    for name in ("numpy", "numpy.libs", *(path.name for path in source.glob("numpy-*.dist-info"))):
        if (source / name).exists():
            shutil.copytree(source / name, packages / name)
    secret = f"{CANARY}-package"
    work = folder / f"{CANARY}-work"
    plant(packages, "told", version=f"1.0+{secret}.x", installer=f"{secret} 3", url=f"https://u:{secret}@h/x.git")
    plant(packages, "mine", version=secret, url=work.as_uri(), editable=True)
    plant(packages, "nested", version="1.0", url=[secret], editable=True)
    plant(packages, secret + " no name", version="1.0")
    (packages / "linked.egg-link").write_text(f"{work}\n.")
    (packages / f"{CANARY}.pth").write_text(f"{work}\n{folder}/{secret}\n")
    return place / "bin" / "python"


def plant(
    packages: Path, name: str, version: str, url: object = "", installer: str = "pip", editable: bool = False
) -> None:
    """A distribution whose every text holds a secret."""
    secret = f"{CANARY}-metadata"
    folder = packages / f"{name.split()[0]}-{version.replace('-', '_')}.dist-info"
    folder.mkdir()
    lines = (f"Name: {name}", f"Version: {version}", f"Author: {secret}", f"Home-page: https://{secret}.example")
    (folder / "METADATA").write_text("\n".join(("Metadata-Version: 2.1", *lines, "", secret)))
    (folder / "INSTALLER").write_text(installer)
    record = (f"/home/{secret}/x.py,sha256=abc,1", f"../../../{secret}/y,{secret}=abc,1", f'"/a,b/{secret}",md5=x,1')
    (folder / "RECORD").write_text("\n".join(record))
    info = {"commit_id": f"{secret} abc123", "vcs": "git"} if url and not isinstance(url, list) else secret
    direct = {"url": url, "vcs_info": info, "dir_info": {"editable": editable}}
    (folder / "direct_url.json").write_text(json.dumps(direct))


def names_of_secrets(folder: Path, environment: dict[str, str]) -> list[str]:
    """A prefix that gives a command another host name, user name and machine-id; [] where that is not allowed."""
    passwd, machine = folder / "passwd", folder / "machine-id"
    home = environment["HOME"]
    passwd.write_text(f"{USER_NAME}:x:{os.getuid()}:0:{CANARY} Full Name:{home}:/bin/sh\n")
    machine.write_text(f"{CANARY.encode().hex():0<32}\n")
    script = f'echo {HOST_NAME} > /proc/sys/kernel/hostname && mount --bind "{passwd}" /etc/passwd && '
    script += f'{{ [ ! -e /etc/machine-id ] || mount --bind "{machine}" /etc/machine-id; }} && exec "$@"'
    own = [] if os.getuid() == 0 else ["--map-root-user"]
    prefix = ["unshare", *own, "--uts", "--mount", "sh", "-c", script, "sh"]
    look = "import getpass, os, socket; print(socket.gethostname(), os.path.expanduser('~'), getpass.getuser())"
    try:
        done = subprocess.run(
            [*prefix, sys.executable, "-c", look], capture_output=True, text=True, env=environment, check=False
        )
    except FileNotFoundError:
        return []
    return prefix if done.stdout.split() == [HOST_NAME, home, USER_NAME] else []


def poisoned(folder: Path) -> dict[str, str]:
    """An environment with a secret in every variable that is captured, in others, and in what they name."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    secret = {name: f"{CANARY}-variable-{name}" for name in variables.FORMS if name not in STARTS_NOTHING}
    shapes = itertools.cycle(("{0}", "/home/{0}/a,b{0};c/{0}", "4,{0}", "user:{0}@host", "{0}={0} {0}", "a b\t{0}\xff"))
    poison = {name: shape.format(value) for (name, value), shape in zip(secret.items(), shapes, strict=False)}
    poison.update(
        GLIBC_TUNABLES=f"glibc.{CANARY}.x=1:glibc.malloc.check={CANARY}:{CANARY}",
        XLA_FLAGS=f"--xla_dump_to=/{CANARY}/a,b {CANARY} --xla_cpu_max_isa={CANARY}",
        CUDA_VISIBLE_DEVICES=f"GPU-{CANARY.encode().hex()}",
        TZ=f"/home/{CANARY}/Europe/Berlin",
        LC_ALL=f"/home/{CANARY}/locale",
        LD_PRELOAD=str(library(folder)),
        LD_LIBRARY_PATH=f"/opt/{CANARY}/lib",
    )
    token = f"{CANARY}-token"
    others = ("SECRET_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "HF_TOKEN", "WANDB_API_KEY", "OMP_SECRET")
    others += ("PIP_INDEX_URL", "PYTHONSTARTUP", "PYTHON_SECRET", "LC_SECRET", "MKL_SECRET", "XLA_SECRET", "COMMAND")
    others += ("SSH_CONNECTION", "HOSTNAME", "LOGNAME", "USER", "USERNAME", "SUDO_USER", "OLDPWD", "MAIL")
    others += ("KUBERNETES_SERVICE_HOST", "SLURM_JOB_ID", "APPTAINER_CONTAINER", "container", "CODESPACES")
    poison.update(dict.fromkeys(others, token))
    poison.update(dict.fromkeys(("http_proxy", "HTTPS_PROXY", "all_proxy"), f"http://me:{token}@proxy:1"))
    poison.update(
        USER=USER_NAME,
        LOGNAME=USER_NAME,
        HOME=str(folder / f"{CANARY}-home"),
        TMPDIR=str(folder / f"{CANARY}-tmp"),
        PATH=f"{folder / f'{CANARY}-bin'}:{kept['PATH']}",
        PYTHONPATH=f"{ROOT}:{folder / f'{CANARY}-work'}:https://me:{token}@host/x",
        PYTHONWARNINGS="ignore",
        PYTHONDONTWRITEBYTECODE="1",
    )
    return {**kept, **poison}


def library(folder: Path) -> Path:
    """A library of an innocent name in a folder of a secret one; "" where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    source, target = folder / "empty.c", folder / f"{CANARY}-libs" / "libinnocent.so"
    if compiler is None:
        return target
    source.write_text("int innocent(void) { return 1; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", target, source], check=True)
    return target


def plant_in_home_and_work(scene: Scene) -> None:
    """pip's configuration; a working directory that is a git checkout and an installation; a wrapper like ssh."""
    configuration = scene.folder / f"{CANARY}-home" / ".config" / "pip"
    configuration.mkdir(parents=True)
    (configuration / "pip.conf").write_text(f"[global]\nindex-url = https://me:{CANARY}@host/simple\n")
    git = scene.work / ".git"
    git.mkdir()
    (git / "config").write_text(f'[remote "origin"]\n\turl = https://me:{CANARY}@host/x.git\n')
    (git / "HEAD").write_text("ref: ../secret.txt\n")  # a link in a checkout can lead to any file
    (scene.work / "secret.txt").write_text(f"{CANARY}-file")
    (scene.work / f"{CANARY}_data.csv").write_text(CANARY)
    info = scene.work / "mine_too.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text(f"Metadata-Version: 1.1\nName: mine-too\nVersion: 0.1\nAuthor: {CANARY}\n")
    wrapper = scene.folder / f"{CANARY}-bin" / "ssh"
    wrapper.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    wrapper.chmod(0o755)


# -- the tests --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(scene: Scene) -> Path:
    """One full report, made among all of these secrets, through a prefix whose arguments are secrets too."""
    via = f"env TOKEN={CANARY}-argument"
    arguments = ("--label", "box", "--repeat", "1", "--verify", "-o", "report.json", "--format", "markdown")
    scene.audit("run", "run", "--via", via, "--python", str(scene.python), *arguments)
    return scene.work / "report.json"


def test_the_scene_is_what_it_says(scene: Scene, report: Path) -> None:
    """The secrets were really there to be found."""
    if not scene.prefix:
        pytest.skip("no namespaces for another host and user name")
    tree = json.loads(report.read_text())
    facts = tree["targets"][0]["facts"]
    effect = tree["targets"][0]["battery"]["facts"]
    assert facts["packages.told.version"]["value"] == "1.0+(not recorded)"
    assert facts["packages.told.installer"]["value"] == "(not recorded)"
    assert facts["packages.mine.version"]["value"] == "(not recorded)"
    assert facts["packages.mine.editable"]["value"] is True
    assert facts["packages.mine-too.editable"]["value"] is True
    assert facts["packages.told.modified"]["value"] == ["and 3 outside site-packages"]
    assert facts["variables.OMP_PLACES"]["value"] == "(not recorded)"
    assert "libraries.libinnocent.build_id" in effect or not shutil.which("cc")
    assert effect["blas.implementation"]["value"] == "openblas"
    assert {job["name"] for job in tree["targets"][0]["jobs"] if "trace" in job} == {"python", "numpy"}


def test_no_secret_is_in_a_report(report: Path) -> None:
    assert leaks(report.read_text("utf-8")) == []


def test_no_secret_is_on_the_streams_of_a_run(scene: Scene, report: Path) -> None:
    assert leaks(scene.texts["run, standard output"]) == []
    assert leaks(scene.texts["run, standard error"]) == []


@pytest.mark.parametrize("format", ["terminal", "markdown", "json"])
def test_no_secret_is_in_a_rendering(format: str, scene: Scene, report: Path) -> None:
    other = str(MACHINES / "host.json.gz")
    for name, arguments in {
        "show": ["show", report.name, "--all"],
        "sharing": ["show", report.name, "--sharing"],
        "diff": ["diff", report.name, other, "--all"],
    }.items():
        text = scene.audit(name, *arguments, "--format", format, status=1 if name == "diff" else 0)
        assert "box" in text
        assert leaks(text) == [], name
        assert leaks(scene.texts[f"{name}, standard error"]) == [], name


def test_the_summary_on_a_terminal_repeats_only_what_was_typed(scene: Scene) -> None:
    typed = str(scene.python)
    text = scene.audit("facts", "run", "--python", typed, "--job", "none", "--label", "box", "-o", "facts.json")
    assert leaks(text.replace(typed, "")) == []
    assert leaks((scene.work / "facts.json").read_text()) == []


def test_no_secret_comes_through_ssh_or_in_a_compressed_file(scene: Scene) -> None:
    via = f"ssh {USER_NAME}@{HOST_NAME}"
    where = ("--label", "box", "--job", "none", "-o", "far.json.gz", "--format", "json")
    text = scene.audit("ssh", "run", "--via", via, "--python", str(scene.python), *where)
    data = (scene.work / "far.json.gz").read_bytes()
    for content in (text, data.decode("latin-1"), gzip.decompress(data).decode()):
        assert leaks(content) == []


def test_no_secret_is_in_a_report_of_the_bundle(scene: Scene) -> None:
    scene.audit("bundle", "bundle", "-o", "probes.pyz")
    assert leaks((scene.work / "probes.pyz").read_bytes().decode("latin-1")) == []
    arguments = ("--label", "box", "--job", "operators", "--repeat", "1", "-o", "node.json")
    text = scene.run("pyz", str(scene.python), "probes.pyz", *arguments)
    assert leaks((scene.work / "node.json").read_text()) == []
    assert leaks(text) == []
    assert leaks(scene.texts["pyz, standard error"]) == []


def test_options_of_the_interpreter_are_only_its_own(scene: Scene) -> None:
    wrapper = scene.folder / f"{CANARY}-bin" / "python-wrapped"
    wrapper.write_text(f'#!/bin/sh\nexec "{scene.python}" -X {CANARY}=1 -X dev -W ignore::{CANARY} "$@"\n')
    wrapper.chmod(0o755)
    arguments = ("--label", "box", "--job", "none", "-o", "options.json", "--quiet")
    scene.audit("options", "run", "--python", str(wrapper), *arguments)
    text = (scene.work / "options.json").read_text()
    assert leaks(text) == []
    assert '"-X (not recorded)","-X dev"' in text


def test_a_numpy_that_cannot_be_imported_does_not_say_where_it_is(scene: Scene) -> None:
    """Its own message names the interpreter's folder."""
    arguments = ("--label", "box", "--repeat", "1", "--job", "operators", "--job", "numpy", "-o", "broken.json")
    broken = {"NPY_ENABLE_CPU_FEATURES": f"{CANARY}"}
    scene.audit("broken", "run", "--python", str(scene.python), *arguments, "--format", "markdown", status=3, **broken)
    assert leaks((scene.work / "broken.json").read_text()) == []
    assert leaks(scene.texts["broken, standard output"]) == []


def test_what_fails_says_where_and_not_what(scene: Scene) -> None:
    """Readings that raise with a secret in their message: a file that cannot be read, a value that is no number."""
    (scene.folder / "sitecustomize.py").write_text(
        "import platform, os\n"
        f"def bad(*a, **k): raise ValueError('{CANARY}')\n"
        f"def gone(*a, **k): raise OSError(5, 'Input/output error', '/home/{CANARY}/x')\n"
        "platform.python_compiler = bad\nos.getloadavg = gone\nplatform.release = bad\n"
    )
    path = f"{scene.folder}:{scene.environment['PYTHONPATH']}"
    arguments = ("--label", "box", "--job", "none", "-o", "failing.json", "--quiet")
    scene.audit("failing", "run", "--python", str(scene.python), *arguments, PYTHONPATH=path)
    text = (scene.work / "failing.json").read_text()
    assert leaks(text) == []
    facts = json.loads(text)["targets"][0]["facts"]
    assert facts["python.compiler"]["reason"].startswith("platform: ValueError (facts, line ")
    assert facts["time.load"]["reason"].startswith("getloadavg: OSError (system, line ")
