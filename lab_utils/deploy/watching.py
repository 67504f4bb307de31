"""What tells how the function fares: its log, kept for some days, and three alarms."""

from typing import Any

from lab_utils.deploy.aws import Aws, Call
from lab_utils.deploy.resource import Resource, Target, as_pairs, from_pairs

ALARMS = ("errors", "throttles", "slow")


class LogGroup(Resource):
    """Made before the function, which would make one that keeps everything for ever."""

    kind = "log group"

    @property
    def name(self) -> str:
        return self.settings.log_group

    def create(self) -> list[Call]:
        arguments = {"logGroupName": self.name, "tags": self.settings.tags}
        return [Call("logs", "CreateLogGroup", arguments), self._put_retention()]

    def update(self, aws: Aws) -> list[Call]:
        found = self._find(aws) or {}
        return (
            []
            if found.get("retentionInDays") == self.settings.retention
            else [self._put_retention()]
        )

    def delete(self) -> list[Call]:
        return [Call("logs", "DeleteLogGroup", {"logGroupName": self.name})]

    def tags(self, aws: Aws) -> dict[str, str] | None:
        found = self._find(aws)
        if not found:
            return None
        arn = found["arn"].removesuffix(":*")
        listed = aws.find("logs", "ListTagsForResource", resourceArn=arn)
        return listed["tags"] if listed else None

    def _find(self, aws: Aws) -> dict[str, Any] | None:
        # The name is a beginning here: others may start with it, and it comes first of them.
        found = aws.find("logs", "DescribeLogGroups", logGroupNamePrefix=self.name, limit=1)
        groups = [g for g in (found or {})["logGroups"] if g["logGroupName"] == self.name]
        return groups[0] if groups else None

    def _put_retention(self) -> Call:
        arguments = {"logGroupName": self.name, "retentionInDays": self.settings.retention}
        return Call("logs", "PutRetentionPolicy", arguments)


class Alarm(Resource):
    """One of ALARMS: failed requests, requests turned away, requests that take long."""

    kind = "alarm"

    def __init__(self, target: Target, subject: str) -> None:
        super().__init__(target)
        self.subject = subject

    @property
    def name(self) -> str:
        return f"{self.settings.name}-{self.subject}"

    def create(self) -> list[Call]:
        tags = {"Tags": as_pairs(self.settings.tags)}
        return [Call("cloudwatch", "PutMetricAlarm", self._wanted() | tags)]

    def update(self, aws: Aws) -> list[Call]:
        found = self._find(aws) or {}
        wanted = self._wanted()
        if all(found.get(key) == value for key, value in wanted.items()):
            return []
        return [Call("cloudwatch", "PutMetricAlarm", wanted)]

    def delete(self) -> list[Call]:
        return [Call("cloudwatch", "DeleteAlarms", {"AlarmNames": [self.name]})]

    def tags(self, aws: Aws) -> dict[str, str] | None:
        found = self._find(aws)
        if not found:
            return None
        listed = aws.find("cloudwatch", "ListTagsForResource", ResourceARN=found["AlarmArn"])
        return from_pairs(listed["Tags"]) if listed else None

    def _find(self, aws: Aws) -> dict[str, Any] | None:
        found = aws.find("cloudwatch", "DescribeAlarms", AlarmNames=[self.name])
        alarms = (found or {}).get("MetricAlarms")
        return alarms[0] if alarms else None

    def _wanted(self) -> dict[str, Any]:
        topic = self.settings.alarm_topic
        return {
            "AlarmName": self.name,
            "Namespace": "AWS/Lambda",
            "Dimensions": [{"Name": "FunctionName", "Value": self.settings.name}],
            "Period": 300,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": [topic] if topic else [],
            **self._measure(),
        }

    def _measure(self) -> dict[str, Any]:
        if self.subject == "errors":
            return {
                "AlarmDescription": "Requests in which the function failed",
                "MetricName": "Errors",
                "Statistic": "Sum",
                "EvaluationPeriods": 1,
                "Threshold": 1.0,
            }
        if self.subject == "throttles":
            return {
                "AlarmDescription": "Requests turned away because too many came at once",
                "MetricName": "Throttles",
                "Statistic": "Sum",
                "EvaluationPeriods": 1,
                "Threshold": 5.0,
            }
        return {
            "AlarmDescription": "p95 of the duration: half of the time-out, for 15 minutes",
            "MetricName": "Duration",
            "ExtendedStatistic": "p95",
            "EvaluationPeriods": 3,
            "Threshold": self.settings.timeout * 1000 / 2,
        }
