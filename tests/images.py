"""Small images for tests: a tar made in memory, or an image that the engine has with some files put over it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import DockerClient

Files = Mapping[str, "bytes | str | tuple[str]"]
"""By path: the content of a file (which can be executed), or where a link leads to, in a tuple."""


def tar(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.mode = 0o755
            if isinstance(content, tuple):
                member.type, (member.linkname,) = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                data = content.encode() if isinstance(content, str) else content
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


MINIMAL = [
    *("usr/bin/python3", "usr/lib/python3.11", "etc/os-release", "lib64/ld-linux-x86-64.so.2"),
    *(f"lib/x86_64-linux-gnu/lib{name}" for name in ("c.so.6", "m.so.6", "z.so.1", "expat.so.1", "selinux.so.1")),
    *(f"lib/x86_64-linux-gnu/lib{name}" for name in ("pcre2-8.so.0", "ffi.so.8")),
    *(f"bin/{name}" for name in ("sh", "sleep", "head", "yes", "cat", "rm", "true")),
]


def minimal() -> bytes:
    """A tar of audit-bookworm's Python, without numpy, and of a few commands: small, and quick to carry about."""
    options = ["-C", "/", "-chf", "-", "--exclude=config-*", "--exclude=__pycache__", "--exclude=numpy", *MINIMAL]
    command = ["docker", "run", "--rm", "--network", "none", "audit-bookworm", "tar", *options]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


class Images:
    """Images under names that no other test has."""

    def __init__(self, client: DockerClient) -> None:
        self.client = client
        self.mark = "audit-test-" + secrets.token_hex(4)
        self.ids: list[str] = []
        self.base = "audit-bookworm"

    def scratch(self, name: str, files: Files) -> str:
        """An image of these files and nothing else; its name."""
        # No two tests share an image, or they could not tell whose its containers are.
        return self.imported(name, tar({"etc/made-for": self.mark, **files}))

    def imported(self, name: str, data: bytes) -> str:
        """An image of a tar; its name."""
        self.client.api.import_image_from_data(data, repository=f"{self.mark}-{name}")
        return self._made(name)

    def foreign(self, name: str, data: bytes, architecture: str) -> str:
        """An image of a tar, for another architecture: loaded, since older engines import everything as their own.

        Source: OCI image specification, Image Configuration; Docker's `save` format.
        """
        layer = "sha256:" + hashlib.sha256(data).hexdigest()
        config = {"architecture": architecture, "os": "linux", "config": {}}
        config["rootfs"] = {"type": "layers", "diff_ids": [layer]}
        manifest = [{"Config": "config.json", "RepoTags": [f"{self.mark}-{name}:latest"], "Layers": ["layer.tar"]}]
        files = {"layer.tar": data, "config.json": json.dumps(config), "manifest.json": json.dumps(manifest)}
        list(self.client.api.load_image(tar(files)))
        return self._made(name)

    def over(self, name: str, files: Files, base: str = "", changes: list[str] | None = None) -> str:
        """An image with these files over those of another, and `changes` as in a Dockerfile; its name."""
        return self.archive(name, tar({"etc/made-for": self.mark, **files}), base or self.base, changes)

    def archive(self, name: str, data: bytes, base: str, changes: list[str] | None = None) -> str:
        """An image with what a tar has over another image; its name."""
        api = self.client.api
        container = api.create_container(base, ["true"])["Id"]
        try:
            api.put_archive(container, "/", data)
            api.commit(container, f"{self.mark}-{name}", changes=changes or [])
        finally:
            api.remove_container(container)
        return self._made(name)

    def _made(self, name: str) -> str:
        self.ids.append(self.client.api.inspect_image(f"{self.mark}-{name}")["Id"])
        return f"{self.mark}-{name}"

    def containers(self) -> list[str]:
        """What the engine lists of containers of these images, by state."""
        found = self.client.api.containers(all=True)
        return [f"{one['Names']} {one['Status']}" for one in found if one["ImageID"] in self.ids]


@contextlib.contextmanager
def made(client: DockerClient) -> Iterator[Images]:
    images = Images(client)
    try:
        yield images
    finally:
        for one in reversed(images.ids):
            client.api.remove_image(one, force=True)
