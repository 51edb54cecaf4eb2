"""What an image cannot know of itself, read from outside through the engine: identity, layers, recipe, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audit.errors import AuditError
from audit.targets import engine

if TYPE_CHECKING:
    from docker import DockerClient

Facts = dict[str, dict[str, Any]]


def inspect(client: DockerClient, name: str, pull: bool) -> dict[str, Any]:
    """What the engine knows of an image. Images are pulled only if that was asked for. Raises AuditError."""
    from docker.errors import APIError, ImageNotFound

    try:
        if pull:
            client.images.pull(name)
        found: dict[str, Any] = client.api.inspect_image(name)
    except ImageNotFound:
        remedy = "check its name" if pull else "pull it, or let audit do that: --pull"
        raise AuditError(f"the engine has no image {name}; {remedy}") from None
    except (APIError, OSError) as error:
        raise AuditError(f"image {name}: {engine.reason(error)}") from None
    return found


class Outside:
    """The facts of one image, read when the target is complete."""

    def __init__(self, client: DockerClient, name: str, image: str) -> None:
        self.client = client
        self.name = name
        self.image = image

    def __call__(self) -> Facts:
        inspected = self.client.api.inspect_image(self.image)
        layers = [layer.removeprefix("sha256:")[:12] for layer in inspected["RootFS"]["Layers"]]
        return {
            "image.id": {"value": inspected["Id"].removeprefix("sha256:")[:12], "source": "image inspect"},
            "image.layers": {"value": layers, "source": "image inspect"},
        }
