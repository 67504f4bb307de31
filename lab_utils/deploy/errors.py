"""What AWS or the machine refuses while deploying, as one sentence that says what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from text_recognizer.errors import RecognizerError


class DeployError(RecognizerError):
    """A deployment can't go on; the message says what to do."""


_SIGN_IN = "run `aws configure` or `aws sso login`, or set AWS_PROFILE"

_REFUSALS = {
    "AccessDenied|UnauthorizedOperation|AuthorizationError": (
        "These AWS credentials may not call {action}: have it allowed, or use others."
    ),
    "Expired|TokenRefreshRequired": f"The AWS credentials have expired: {_SIGN_IN}.",
    "AuthFailure|Signature|InvalidAccessKeyId|InvalidClientTokenId|UnrecognizedClient": (
        f"AWS does not know these credentials ({{code}}): {_SIGN_IN}."
    ),
    "RequestLimitExceeded|ServiceUnavailable|Throttling|TooManyRequests": (
        "AWS asks to slow down at {action}: run the command again in a minute."
    ),
    "LimitExceeded|QuotaExceeded|CodeStorageExceeded": (
        "A quota of the account is used up at {action} ({message}): ask AWS to raise it."
    ),
    "": "AWS refused {action}: {code}: {message}.",
}
"""Sentences for AWS's error codes: the first pattern that is found in a code has it."""

_NO_ANSWERS = {
    "NoCredentials|PartialCredentials": f"There are no AWS credentials: {_SIGN_IN}.",
    "ProfileNotFound": "{message}: see `aws configure list-profiles`.",
    "NoRegion": "There is no AWS region: pass --region, or set AWS_REGION.",
    "SSO|Token|CredentialRetrieval": (
        f"The AWS credentials cannot be had ({{message}}): {_SIGN_IN}."
    ),
    "EndpointConnection|ConnectTimeout|ReadTimeout|SSLError": (
        "AWS cannot be reached for {action}: check the network, --region and AWS_ENDPOINT_URL."
    ),
    "": "{action} failed: {message}.",
}
"""The same for the names of boto3's own errors."""


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turns what boto3 raises into a DeployError.

    Args:
        action: what was called, as IAM policies name it, such as "lambda:CreateFunction".
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        answer = error.response.get("Error", {})
        message = answer.get("Message") or str(error)
        raise _error(_REFUSALS, answer.get("Code", ""), message, action) from error
    except BotoCoreError as error:
        raise _error(_NO_ANSWERS, type(error).__name__, str(error), action) from error


def _error(sentences: dict[str, str], code: str, message: str, action: str) -> DeployError:
    sentence = next(sentences[pattern] for pattern in sentences if re.search(pattern, code))
    message = " ".join(message.split()).rstrip(".")
    return DeployError(sentence.format(code=code, message=message, action=action))


def failed_resource(resource: str, reason: str) -> str:
    """The sentence for a resource that CloudFormation could not make."""
    if "UnreservedConcurrentExecution" in reason:
        return (
            "The account has too few concurrent executions left to reserve some: pass "
            "`--concurrency 0` to reserve none, or ask AWS for a higher quota."
        )
    if "MemorySize" in reason:
        return f"AWS refuses so much memory ({reason}): lower --memory, or ask for a higher quota."
    if "already exists" in reason:
        return f"{resource} failed ({reason}): remove it, or pass another --name."
    return f"{resource} failed: {reason}."
