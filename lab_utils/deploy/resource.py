"""What all resources of a deployment have in common: names, tags, and how they come and go.

A resource says which calls make it from nothing (the plan), which of them are missing now (apply),
and which remove it (destroy). It touches nothing that does not carry the deployment's tags.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from lab_utils.deploy.aws import Aws, Call
from lab_utils.deploy.errors import DeployError
from lab_utils.deploy.settings import LambdaSettings


@dataclass(frozen=True)
class Target:
    """Which deployment, and where. The defaults stand for what only an account knows."""

    settings: LambdaSettings
    region: str = "REGION"
    account: str = "ACCOUNT"
    partition: str = "aws"
    digest: str = "sha256:DIGEST"
    """Of the image to run."""

    @property
    def repository(self) -> str:
        """Where images are pushed to, without a tag."""
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"{self.account}.dkr.ecr.{self.region}.{suffix}/{self.settings.name}"

    @property
    def image(self) -> str:
        """The image by its digest: a tag may point at another one tomorrow."""
        return f"{self.repository}@{self.digest}"

    @property
    def role(self) -> str:
        """IAM has no regions: the name says which region's function the role is for."""
        return f"{self.settings.name}-{self.region}"

    def arn(self, service: str, resource: str, has_region: bool = True) -> str:
        region = self.region if has_region else ""
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{resource}"

    @property
    def function_arn(self) -> str:
        return self.arn("lambda", f"function:{self.settings.name}")

    @property
    def role_arn(self) -> str:
        return self.arn("iam", f"role/{self.role}", has_region=False)

    @property
    def log_group_arn(self) -> str:
        return self.arn("logs", f"log-group:{self.settings.log_group}")


class Resource(ABC):
    """One tagged thing in the account, with what hangs on it."""

    kind: str
    """For people: "image repository"."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.settings = target.settings

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in AWS."""

    @abstractmethod
    def create(self) -> list[Call]:
        """The calls that make it from nothing, in order."""

    @abstractmethod
    def update(self, aws: Aws) -> list[Call]:
        """The calls that make what is there into what `create` would have made."""

    @abstractmethod
    def delete(self) -> list[Call]:
        """The calls that remove it with all that hangs on it."""

    @abstractmethod
    def tags(self, aws: Aws) -> dict[str, str] | None:
        """The tags that it carries; None where it is not there."""

    def is_ours(self, aws: Aws) -> bool | None:
        """Whether this deployment made it; None where it is not there."""
        tags = self.tags(aws)
        return None if tags is None else self.settings.tags.items() <= tags.items()

    def missing(self, aws: Aws) -> list[Call]:
        """The calls still to be made; raises DeployError where somebody else's has the name."""
        ours = self.is_ours(aws)
        if ours is None:
            return self.create()
        if not ours:
            raise DeployError(
                f"The account has a {self.kind} {self.name} that this lab did not make: "
                "deploy under another --name."
            )
        return self.update(aws)


def as_pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as most services take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def from_pairs(pairs: list[dict[str, Any]]) -> dict[str, str]:
    """Tags as a dictionary; ECR and IAM write Key and Value, all the same."""
    return {pair["Key"]: pair["Value"] for pair in pairs}
