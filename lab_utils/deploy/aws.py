"""Calls to AWS as data, so that the plan shows the very calls that are made later.

boto3 is needed to make them, not to show them. The standard variables hold: AWS_PROFILE,
AWS_REGION, and AWS_ENDPOINT_URL for a server that stands in for AWS.
"""

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab_utils.deploy.errors import DeployError, error_code, explained

if TYPE_CHECKING:
    import boto3

_NOT_THERE = {
    "ImageNotFoundException",
    "LifecyclePolicyNotFoundException",
    "NoSuchEntity",
    "RepositoryNotFoundException",
    "RepositoryPolicyNotFoundException",
    "ResourceNotFoundException",
}


@dataclass(frozen=True)
class Call:
    """One call of AWS's API."""

    service: str
    """boto3's name, which is also the prefix of the action in IAM policies."""
    operation: str
    """Such as "CreateFunction"."""
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def action(self) -> str:
        """The name in IAM policies and error messages: "lambda:CreateFunction"."""
        return f"{self.service}:{self.operation}"

    def __str__(self) -> str:
        lines = [self.action]
        for name, value in self.arguments.items():
            # A policy is a text that is JSON already.
            lines.append(f"    {name}: {value if isinstance(value, str) else json.dumps(value)}")
        return "\n".join(lines)


def region_or_none(region: str | None = None) -> str | None:
    """The region asked for, else the environment's; a profile's is known to boto3 alone."""
    return region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


class Aws:
    """Makes calls in one region.

    Args:
        region: else the environment's or the profile's.
        session: else a new one of boto3.

    Raises DeployError where boto3 or the region is missing.
    """

    def __init__(
        self, region: str | None = None, session: "boto3.session.Session | None" = None
    ) -> None:
        try:
            import boto3
        except ImportError:
            raise DeployError(
                "Deploying needs boto3: install it with `pip install "
                "'text-recognizer-deployment-lab[deploy]'`, or show the calls with --plan."
            ) from None
        with explained("the settings"):
            self._session = session or boto3.Session()
        self.region = region_or_none(region) or self._session.region_name
        if not self.region:
            raise DeployError("There is no AWS region: pass --region, or set AWS_REGION.")
        self._clients: dict[str, Any] = {}

    def call(self, call: Call) -> dict[str, Any]:
        """Makes a call; raises DeployError with the action's name where AWS refuses it."""
        with explained(call.action):
            return self._method(call)(**call.arguments)

    def call_if_there(self, call: Call) -> dict[str, Any] | None:
        """The same; None where what the call is about is not there."""
        with explained(call.action):
            try:
                return self._method(call)(**call.arguments)
            except Exception as error:
                if error_code(error) in _NOT_THERE:
                    return None
                raise

    def find(self, service: str, operation: str, **arguments: Any) -> dict[str, Any] | None:
        """What a call that only looks gives; None where the thing is not there."""
        return self.call_if_there(Call(service, operation, arguments))

    def _method(self, call: Call) -> Any:
        from botocore import xform_name
        from botocore.config import Config

        if call.service not in self._clients:
            self._clients[call.service] = self._session.client(
                call.service,
                region_name=self.region,
                config=Config(
                    retries={"mode": "standard", "max_attempts": 4},
                    connect_timeout=10,
                    read_timeout=60,
                ),
            )
        return getattr(self._clients[call.service], xform_name(call.operation))
