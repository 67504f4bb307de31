"""The role that the function runs under: it may write its own log, and nothing else."""

import json
from typing import Any

from lab_utils.deploy.aws import Aws, Call
from lab_utils.deploy.resource import Resource, as_pairs, from_pairs

_POLICY = "write-its-log"


class Role(Resource):
    """Least privilege: AWS's ready-made policy would allow writing every log of the account."""

    kind = "role"

    @property
    def name(self) -> str:
        return self.target.role

    def create(self) -> list[Call]:
        make = Call(
            "iam",
            "CreateRole",
            {
                "RoleName": self.name,
                "Description": "Runs the text recognizer on Lambda",
                "AssumeRolePolicyDocument": json.dumps(_TRUST),
                "Tags": as_pairs(self.settings.tags),
            },
        )
        return [make, self._put_policy()]

    def update(self, aws: Aws) -> list[Call]:
        found = aws.find("iam", "GetRolePolicy", RoleName=self.name, PolicyName=_POLICY)
        if found and found["PolicyDocument"] == self._policy():
            return []
        return [self._put_policy()]

    def delete(self) -> list[Call]:
        return [
            Call("iam", "DeleteRolePolicy", {"RoleName": self.name, "PolicyName": _POLICY}),
            Call("iam", "DeleteRole", {"RoleName": self.name}),
        ]

    def tags(self, aws: Aws) -> dict[str, str] | None:
        found = aws.find("iam", "GetRole", RoleName=self.name)
        return from_pairs(found["Role"].get("Tags", [])) if found else None

    def _put_policy(self) -> Call:
        return Call(
            "iam",
            "PutRolePolicy",
            {
                "RoleName": self.name,
                "PolicyName": _POLICY,
                "PolicyDocument": json.dumps(self._policy()),
            },
        )

    def _policy(self) -> dict[str, Any]:
        write = {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": f"{self.target.log_group_arn}:*",
        }
        return {"Version": "2012-10-17", "Statement": [write]}


_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
