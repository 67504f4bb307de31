"""What AWS refuses while deploying, as one sentence that says what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from text_recognizer.errors import RecognizerError


class DeployError(RecognizerError):
    """A deployment can't go on; the message says what to do."""


_CREDENTIALS = (
    "Credentials|Expired|Token|SSO|InvalidAccessKeyId|Signature|AuthFailure|ProfileNotFound"
)
"""Of AWS's error codes and the names of boto3's own errors, those that are about credentials."""


@contextmanager
def aws_errors() -> Iterator[None]:
    """Turns what boto3 raises into a DeployError of one line."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        answer = getattr(error, "response", {}).get("Error", {})
        cure = ""
        if re.search(_CREDENTIALS, answer.get("Code", type(error).__name__)):
            cure = ": run `aws configure` or `aws sso login`, or set AWS_PROFILE"
        raise DeployError(f"{one_line(error)}{cure}.") from error


def one_line(text: object) -> str:
    """A message of AWS on one line, without a full stop."""
    return " ".join(str(text).split()).rstrip(".")
