"""Removes what a deployment made, found by its tags; what others made is left alone."""

from dataclasses import dataclass

from lab_utils.deploy.apply import Say, find_target
from lab_utils.deploy.aws import Aws
from lab_utils.deploy.parts import after_image, before_image
from lab_utils.deploy.resource import Resource
from lab_utils.deploy.settings import LambdaSettings


@dataclass(frozen=True)
class Found:
    """What of a deployment is in the account."""

    ours: list[Resource]
    """In the order in which they can be removed."""
    foreign: list[Resource]
    """Of the same name, but without the deployment's tags."""


def find(name: str, aws: Aws) -> Found:
    """Looks for everything that a deployment of this name made; changes nothing."""
    target = find_target(LambdaSettings(name=name), aws)
    found = Found([], [])
    for resource in reversed([*before_image(target), *after_image(target)]):
        ours = resource.is_ours(aws)
        if ours is not None:
            (found.ours if ours else found.foreign).append(resource)
    return found


def destroy(found: Found, aws: Aws, say: Say = print) -> None:
    """Removes what was found; what has gone in the meantime is fine. Raises DeployError."""
    for resource in found.ours:
        for call in resource.delete():
            aws.call_if_there(call)
        say(f"{resource.kind} {resource.name}: removed")
