"""The function with its URL: what runs the image, how many at once, and who may call it."""

import json
from typing import Any

from lab_utils.deploy.aws import Aws, Call
from lab_utils.deploy.resource import Resource

# AWS wants both for a URL that everybody may call, and the second one for nothing but the URL.
_PUBLIC = {
    "public-url": {
        "Action": "lambda:InvokeFunctionUrl",
        "Principal": "*",
        "FunctionUrlAuthType": "NONE",
    },
    "public-url-invoke": {
        "Action": "lambda:InvokeFunction",
        "Principal": "*",
        "InvokedViaFunctionUrl": True,
    },
}


class Function(Resource):
    """The function, its Function URL, its concurrency and its permissions."""

    kind = "function"

    @property
    def name(self) -> str:
        return self.settings.name

    def create(self) -> list[Call]:
        make = {
            **self._configuration(),
            "PackageType": "Image",
            "Architectures": ["x86_64"],
            "Code": {"ImageUri": self.target.image},
            "Tags": self.settings.tags,
        }
        return [
            Call("lambda", "CreateFunction", make),
            *self._set_concurrency(None),
            self._create_url(),
            *self._set_permissions(set()),
        ]

    def update(self, aws: Aws) -> list[Call]:
        found = aws.find("lambda", "GetFunction", FunctionName=self.name) or {}
        url = aws.find("lambda", "GetFunctionUrlConfig", FunctionName=self.name)
        calls = []
        wanted = self._configuration()
        if any(found["Configuration"].get(key) != value for key, value in wanted.items()):
            calls.append(Call("lambda", "UpdateFunctionConfiguration", wanted))
        if self.target.digest not in _images(found["Code"]):
            update = {"FunctionName": self.name, "ImageUri": self.target.image}
            calls.append(Call("lambda", "UpdateFunctionCode", update))
        reserved = found.get("Concurrency", {}).get("ReservedConcurrentExecutions")
        calls += self._set_concurrency(reserved)
        if url is None:
            calls.append(self._create_url())
        elif not _is_part(self._url(), url):
            calls.append(Call("lambda", "UpdateFunctionUrlConfig", self._url()))
        return calls + self._set_permissions(self._permissions(aws))

    def delete(self) -> list[Call]:
        only = {"FunctionName": self.name}
        return [
            Call("lambda", "DeleteFunctionUrlConfig", only),
            Call("lambda", "DeleteFunction", only),
        ]

    def tags(self, aws: Aws) -> dict[str, str] | None:
        found = aws.find("lambda", "GetFunction", FunctionName=self.name)
        return found.get("Tags", {}) if found else None

    def _configuration(self) -> dict[str, Any]:
        return {
            "FunctionName": self.name,
            "Description": "Reads handwritten pages",
            "Role": self.target.role_arn,
            "MemorySize": self.settings.memory,
            "Timeout": self.settings.timeout,
        }

    def _create_url(self) -> Call:
        wanted = {key: value for key, value in self._url().items() if value}
        return Call("lambda", "CreateFunctionUrlConfig", wanted)

    def _url(self) -> dict[str, Any]:
        cors: dict[str, Any] = {}  # in an update it takes away what was there
        if self.settings.origins:
            cors = {
                "AllowOrigins": self.settings.origins,
                "AllowMethods": ["GET", "POST"],
                "AllowHeaders": ["content-type"],
                "MaxAge": 3600,
            }
        return {
            "FunctionName": self.name,
            "AuthType": self.settings.auth,
            "Cors": cors,
            "InvokeMode": "BUFFERED",
        }

    def _set_concurrency(self, reserved: int | None) -> list[Call]:
        wanted = self.settings.concurrency or None
        if wanted == reserved:
            return []
        if wanted is None:
            return [Call("lambda", "DeleteFunctionConcurrency", {"FunctionName": self.name})]
        arguments = {"FunctionName": self.name, "ReservedConcurrentExecutions": wanted}
        return [Call("lambda", "PutFunctionConcurrency", arguments)]

    def _permissions(self, aws: Aws) -> set[str]:
        """Which of _PUBLIC the function has."""
        found = aws.find("lambda", "GetPolicy", FunctionName=self.name)
        statements = json.loads(found["Policy"])["Statement"] if found else []
        return {statement["Sid"] for statement in statements} & set(_PUBLIC)

    def _set_permissions(self, present: set[str]) -> list[Call]:
        wanted = _PUBLIC if self.settings.auth == "NONE" else {}
        named = {"FunctionName": self.name}
        return [
            Call("lambda", "RemovePermission", named | {"StatementId": statement})
            for statement in sorted(present - set(wanted))
        ] + [
            Call("lambda", "AddPermission", named | {"StatementId": statement} | permission)
            for statement, permission in wanted.items()
            if statement not in present
        ]


def _images(code: dict[str, str]) -> str:
    return f"{code.get('ImageUri', '')} {code.get('ResolvedImageUri', '')}"


def _is_part(wanted: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether AWS's answer says what is wanted; it leaves out what is empty and adds the rest."""
    return all(
        found.get(key) == value or (not value and not found.get(key))
        for key, value in wanted.items()
        if key != "FunctionName"
    )
