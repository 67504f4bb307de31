"""What AWS refuses while deploying, as one sentence that says what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from text_recognizer.errors import RecognizerError


class DeployError(RecognizerError):
    """A deployment can't go on; the message says what to do."""


_CREDENTIALS = (
    "NoCredentials|Expired|Token|SSO|InvalidAccessKeyId|Signature|AuthFailure|ProfileNotFound"
)
"""Of AWS's error codes and the names of boto3's own errors, those that are about credentials."""


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turns what boto3 raises into a DeployError.

    Args:
        action: what was called, as IAM policies name it, such as "lambda:CreateFunction".
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        answer = getattr(error, "response", {}).get("Error", {})
        code = answer.get("Code") or type(error).__name__
        message = _line(answer.get("Message") or str(error))
        cure = "."
        if re.search(_CREDENTIALS, code):
            cure = ": run `aws configure` or `aws sso login`, or set AWS_PROFILE."
        raise DeployError(f"AWS refused {action} ({code}: {message}){cure}") from error


def failed_resource(resource: str, reason: str) -> str:
    """The sentence for a resource that CloudFormation could not make."""
    if "UnreservedConcurrentExecution" in reason:
        return (
            "The account has too few concurrent executions left to reserve some: pass "
            "`--concurrency 0` to reserve none, or ask AWS for a higher quota."
        )
    return f"{resource} failed: {_line(reason)}."


def _line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
