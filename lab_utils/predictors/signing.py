"""Signs requests to a Function URL that takes only signed calls (AWS_IAM), with AWS's own library.

Credentials come from where all of AWS's tools take them. Only addresses of Function URLs get a
signature, and only over https: no other server learns whose requests these are.
"""

import re
from collections.abc import Callable

Signer = Callable[[str, bytes, dict[str, str]], dict[str, str]]
"""Gets target (path and query), body and headers of a POST; returns the headers to send."""

_FUNCTION_URL = re.compile(r"[0-9a-z]+\.lambda-url\.([0-9a-z-]+)\.on\.aws")


def signer_for(scheme: str, host: str) -> Signer | None:
    """A signer for a service's address; None if it is not a Function URL's, or nobody is logged in.

    A Function URL that is open to everybody (NONE) takes signed requests as well as others.
    """
    function_url = _FUNCTION_URL.fullmatch(host)
    if scheme != "https" or function_url is None:
        return None
    try:
        from boto3 import Session
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
    except ImportError:
        return None
    credentials = Session().get_credentials()
    if credentials is None:
        return None

    def sign(target: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
        request = AWSRequest("POST", f"https://{host}{target}", headers=dict(headers), data=body)
        # Frozen for each request: temporary credentials are renewed in between.
        signature = SigV4Auth(credentials.get_frozen_credentials(), "lambda", function_url[1])
        signature.add_auth(request)
        return dict(request.headers)

    return sign
