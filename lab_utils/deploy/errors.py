"""What AWS refuses while deploying, as one sentence that says what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from text_recognizer.errors import RecognizerError


class DeployError(RecognizerError):
    """A deployment can't go on; the message says what to do."""


_SIGN_IN = "run `aws configure` or `aws sso login`, or set AWS_PROFILE"

_SENTENCES = {
    "AccessDenied|UnauthorizedOperation": (
        "These AWS credentials may not call {action}: have it allowed, or use others."
    ),
    "Throttling|TooManyRequests|RequestLimitExceeded": (
        "AWS asks to slow down at {action}: run the command again in a minute."
    ),
    "LimitExceeded|QuotaExceeded": (
        "A quota of the account is used up at {action} ({message}): ask AWS to raise it."
    ),
    "NoCredentials|Expired|Token|SSO|InvalidAccessKeyId|Signature|AuthFailure|ProfileNotFound": (
        f"The AWS credentials are missing or not valid ({{message}}): {_SIGN_IN}."
    ),
    "EndpointConnection|ConnectTimeout|ReadTimeout|SSLError": (
        "AWS can't be reached for {action}: check the network, --region and AWS_ENDPOINT_URL."
    ),
    "": "AWS refused {action}: {code}: {message}.",
}
"""Sentences for AWS's error codes and for the names of boto3's own errors: the first pattern that
is found has it."""

_FAILURES = {
    "UnreservedConcurrentExecution": (
        "The account has too few concurrent executions left to reserve some: pass "
        "`--concurrency 0` to reserve none, or ask AWS for a higher quota."
    ),
    "MemorySize": "AWS refuses so much memory: lower --memory, or ask for a higher quota.",
    "": "{resource} failed: {reason}.",
}
"""The same for the reasons of resources that CloudFormation could not make."""


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
        sentence = _first(_SENTENCES, code)
        raise DeployError(sentence.format(code=code, message=message, action=action)) from error


def failed_resource(resource: str, reason: str) -> str:
    """The sentence for a resource that CloudFormation could not make."""
    return _first(_FAILURES, reason).format(resource=resource, reason=_line(reason))


def _first(sentences: dict[str, str], text: str) -> str:
    return next(sentences[pattern] for pattern in sentences if re.search(pattern, text))


def _line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
