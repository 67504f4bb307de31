"""What a deployment can be told, checked before anything is called.

The defaults are also those of `deploy/template.yaml`; a test compares the two.
"""

import re
from dataclasses import dataclass, field

from lab_utils.deploy.errors import DeployError

PROJECT = "text-recognizer-deployment-lab"

MIN_MEMORY = 1536
"""MB: a process that reads the largest pages takes up to 970, and half as much again is room."""

RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653)
"""What CloudWatch Logs takes."""


@dataclass(frozen=True)
class LambdaSettings:
    """The model service on AWS Lambda; raises DeployError for what AWS would refuse later."""

    name: str = "text-recognizer"
    """Of the function and the image repository, and the beginning of all other names."""
    memory: int = 3008
    """MB; 1769 buy a core. 3008 is what a new account may use at most."""
    timeout: int = 30
    """s for one request."""
    concurrency: int = 5
    """Requests at the same time at most, reserved for the function; 0 reserves none. It is what
    limits the bill."""
    auth: str = "AWS_IAM"
    """Who may call the Function URL: AWS_IAM, signed requests alone; NONE, everybody."""
    origins: list[str] = field(default_factory=list)
    """Origins whose pages may call the Function URL from a browser (CORS)."""
    retention: int = 14
    """Days that logs are kept."""
    alarm_topic: str | None = None
    """ARN of an SNS topic that is told of alarms."""

    def __post_init__(self) -> None:
        _check(
            re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", self.name) and len(self.name) <= 32,
            f'"{self.name}" is no name: take at most 32 of a-z, 0-9 and single hyphens.',
        )
        _between("memory", self.memory, MIN_MEMORY, 10240)
        _between("timeout", self.timeout, 5, 900)
        _between("concurrency", self.concurrency, 0, 1000)
        _check(self.auth in ("AWS_IAM", "NONE"), "--auth is AWS_IAM or NONE.")
        for origin in self.origins:
            _check(
                origin == "*" or re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d+)?", origin),
                f'"{origin}" is no origin: write it as https://example.org, without a path.',
            )
        _check(
            self.retention in RETENTION_DAYS,
            f"Logs cannot be kept for {self.retention} days; take one of "
            f"{', '.join(map(str, RETENTION_DAYS))}.",
        )
        _check(
            self.alarm_topic is None or re.fullmatch(r"arn:[\w-]+:sns:\S+", self.alarm_topic),
            "--alarm-topic is the ARN of an SNS topic: arn:aws:sns:REGION:ACCOUNT:NAME.",
        )

    @property
    def tags(self) -> dict[str, str]:
        """What every resource of the deployment carries, and nothing else does."""
        return {"project": PROJECT, "deployment": self.name}

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{self.name}"


def _between(option: str, value: int, least: int, most: int) -> None:
    _check(least <= value <= most, f"--{option} is {value}; it must be {least} to {most}.")


def _check(is_fine: object, message: str) -> None:
    if not is_fine:
        raise DeployError(message)
