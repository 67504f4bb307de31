"""What AWS or the machine refuses while deploying, as one sentence that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from text_recognizer.errors import RecognizerError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError


class DeployError(RecognizerError):
    """A deployment can't go on; the message says what to do."""


_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN_KEYS = {
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_QUOTA = {
    "CodeStorageExceededException",
    "LimitExceeded",
    "LimitExceededException",
    "LimitExceededFault",
    "ServiceQuotaExceededException",
}
_SLOW_DOWN = {
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}

_SIGN_IN = "run `aws configure` or `aws sso login`, or set AWS_PROFILE"


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
        raise DeployError(_refusal(error, action)) from error
    except BotoCoreError as error:
        raise DeployError(_no_answer(error, action)) from error


def _refusal(error: "ClientError", action: str) -> str:
    answer = error.response.get("Error", {})
    code = answer.get("Code", "")
    message = " ".join((answer.get("Message") or str(error)).split()).rstrip(".")
    if code in _DENIED:
        return f"These AWS credentials may not call {action}: have it allowed, or use others."
    if code in _EXPIRED:
        return f"The AWS credentials have expired: {_SIGN_IN}."
    if code in _UNKNOWN_KEYS:
        return f"AWS does not know these credentials ({code}): {_SIGN_IN}."
    if code in _QUOTA:
        return f"A quota of the account is used up at {action} ({message}): ask AWS to raise it."
    if code in _SLOW_DOWN:
        return f"AWS asks to slow down at {action}: run the command again in a minute."
    return f"AWS refused {action}: {code}: {message}."


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


def _no_answer(error: Exception, action: str) -> str:
    kind = type(error).__name__
    if kind in ("NoCredentialsError", "PartialCredentialsError"):
        return f"There are no AWS credentials: {_SIGN_IN}."
    if kind == "ProfileNotFound":
        return f"{error}: see `aws configure list-profiles`."
    if kind == "NoRegionError":
        return "There is no AWS region: pass --region, or set AWS_REGION."
    if "SSO" in kind or "Token" in kind or kind == "CredentialRetrievalError":
        return f"The AWS credentials cannot be had ({_one_line(error)}): {_SIGN_IN}."
    if kind in ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "SSLError"):
        return (
            f"AWS cannot be reached for {action}: check the network, --region and AWS_ENDPOINT_URL."
        )
    return f"{action} failed: {_one_line(error)}."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
