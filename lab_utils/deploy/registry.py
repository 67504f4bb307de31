"""The image repository (ECR): old images go by themselves, and Lambda alone may pull from it."""

import json
from typing import Any

from lab_utils.deploy.aws import Aws, Call
from lab_utils.deploy.costs import USAGE
from lab_utils.deploy.resource import Resource, as_pairs, from_pairs


class Repository(Resource):
    """Holds the image that the function runs, and the versions before it."""

    kind = "image repository"

    @property
    def name(self) -> str:
        return self.settings.name

    def create(self) -> list[Call]:
        make = Call(
            "ecr",
            "CreateRepository",
            {
                "repositoryName": self.name,
                "imageScanningConfiguration": {"scanOnPush": True},
                "tags": as_pairs(self.settings.tags),
            },
        )
        return [make, self._put_lifecycle(), self._put_policy()]

    def update(self, aws: Aws) -> list[Call]:
        lifecycle = aws.find("ecr", "GetLifecyclePolicy", repositoryName=self.name)
        policy = aws.find("ecr", "GetRepositoryPolicy", repositoryName=self.name)
        calls = []
        if not lifecycle or json.loads(lifecycle["lifecyclePolicyText"]) != self._lifecycle():
            calls.append(self._put_lifecycle())
        if not policy or json.loads(policy["policyText"]) != self._policy():
            calls.append(self._put_policy())
        return calls

    def delete(self) -> list[Call]:
        return [Call("ecr", "DeleteRepository", {"repositoryName": self.name, "force": True})]

    def tags(self, aws: Aws) -> dict[str, str] | None:
        found = aws.find("ecr", "DescribeRepositories", repositoryNames=[self.name])
        if not found:
            return None
        (repository,) = found["repositories"]
        listed = aws.find("ecr", "ListTagsForResource", resourceArn=repository["repositoryArn"])
        return from_pairs(listed["tags"]) if listed else None

    def _put_lifecycle(self) -> Call:
        text = json.dumps(self._lifecycle())
        return Call(
            "ecr",
            "PutLifecyclePolicy",
            {"repositoryName": self.name, "lifecyclePolicyText": text},
        )

    def _put_policy(self) -> Call:
        text = json.dumps(self._policy())
        return Call("ecr", "SetRepositoryPolicy", {"repositoryName": self.name, "policyText": text})

    def _lifecycle(self) -> dict[str, Any]:
        rule = {
            "rulePriority": 1,
            "description": "Keep the newest images",
            "selection": {
                "tagStatus": "any",
                "countType": "imageCountMoreThan",
                "countNumber": USAGE.images_kept,
            },
            "action": {"type": "expire"},
        }
        return {"rules": [rule]}

    def _policy(self) -> dict[str, Any]:
        pull = {
            "Sid": "LambdaPulls",
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            "Condition": {"StringEquals": {"aws:sourceArn": self.target.function_arn}},
        }
        return {"Version": "2012-10-17", "Statement": [pull]}
