"""`deploy/template.yaml`, which describes all that is made at AWS: its settings and resources."""

import math
import re
from functools import cache
from typing import Any

import yaml

from lab_utils.deploy.errors import DeployError
from text_recognizer.places import project_folder

OPTIONS = {
    "Name": "--name",
    "Memory": "--memory",
    "RequestSeconds": "--timeout",
    "Concurrency": "--concurrency",
    "AuthType": "--auth",
    "Origins": "--origin",
    "LogDays": "--retention",
    "AlarmTopic": "--alarm-topic",
}
"""The template's parameters as options of `lab deploy lambda`."""


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Ref Name` is {"Ref": "Name"}."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _short_form)


def template_body() -> str:
    """The template as it is sent to CloudFormation."""
    return (project_folder() / "deploy" / "template.yaml").read_text()


@cache
def template() -> dict[str, Any]:
    """The template, with short forms such as `!Ref Name` as {"Ref": "Name"}."""
    return yaml.load(template_body(), _Loader)


def parameters(**given: Any) -> dict[str, str]:
    """The template's parameters: those that are given and not None, and defaults for the others.

    Raises DeployError for a value that the template does not allow, as CloudFormation would.
    """
    values = {}
    for name, rule in template()["Parameters"].items():
        value = rule["Default"] if given.get(name) is None else given[name]
        for one in value if isinstance(value, list) else [value]:
            _check(OPTIONS.get(name, name), rule, one)
        values[name] = ",".join(value) if isinstance(value, list) else str(value)
    # CloudFormation can't calculate.
    values["SlowMilliseconds"] = str(int(values["RequestSeconds"]) * 500)
    return values


def _check(option: str, rule: dict[str, Any], value: Any) -> None:
    least, most = rule.get("MinValue", -math.inf), rule.get("MaxValue", math.inf)
    if rule["Type"] == "Number" and not least <= value <= most:
        raise DeployError(f"{option} is {value}; it must be {least} to {most}.")
    if value not in rule.get("AllowedValues", [value]):
        allowed = ", ".join(map(str, rule["AllowedValues"]))
        raise DeployError(f"{option} is {value}; it must be one of {allowed}.")
    pattern, length = rule.get("AllowedPattern", "(?s:.*)"), rule.get("MaxLength", 4096)
    if not re.fullmatch(pattern, str(value)) or len(str(value)) > length:
        raise DeployError(f'{option} is "{value}": {rule["ConstraintDescription"]}.')


def resources(values: dict[str, str]) -> dict[str, str]:
    """Names and types of the resources that the template makes with these parameters and an image.

    Of the template's conditions only IsPublic is looked at; the others ask for an image.
    """
    is_public = values["AuthType"] == "NONE"
    return {
        name: resource["Type"]
        for name, resource in template()["Resources"].items()
        if is_public or resource.get("Condition") != "IsPublic"
    }
