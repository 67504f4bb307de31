"""The parts of a deployment in the order in which they are made; they are removed in reverse."""

from lab_utils.deploy.function import Function
from lab_utils.deploy.registry import Repository
from lab_utils.deploy.resource import Resource, Target
from lab_utils.deploy.role import Role
from lab_utils.deploy.watching import ALARMS, Alarm, LogGroup


def before_image(target: Target) -> list[Resource]:
    """What the image and the function need."""
    return [Repository(target), Role(target), LogGroup(target)]


def after_image(target: Target) -> list[Resource]:
    """The function, which needs the image, and what watches it."""
    return [Function(target), *(Alarm(target, subject) for subject in ALARMS)]
