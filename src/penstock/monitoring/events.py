"""What alarms emit, in EventBridge's form (AWS: "Alarm events and EventBridge")."""

from __future__ import annotations

from penstock.store.catalogue import EventType

_CONFIGURATION = {
    "description": "Too many errors",
    "metrics": [
        {
            "id": "6d0b7a58-0b23-5b8e-8f0c-4a4a0a3f2d3c",
            "metricStat": {
                "metric": {"namespace": "Shop/Checkout", "name": "Errors", "dimensions": {"Host": "web-1"}},
                "period": 60,
                "stat": "Sum",
            },
            "returnData": True,
        }
    ],
}
_BEFORE = {"reason": "Unchecked: Initial alarm creation", "timestamp": "2019-10-02T17:00:40.989+0000", "value": "OK"}
_AFTER = {
    "reason": "Threshold Crossed: 1 out of the last 1 datapoints [4.0 (02/10/19 17:03:00)] was greater than the threshold (1.0)"
    " (minimum 1 datapoint for OK -> ALARM transition).",
    "timestamp": "2019-10-02T17:04:40.989+0000",
    "value": "ALARM",
}

STATE_CHANGED = EventType(
    name="cloudwatch.alarm.state_changed",
    description="An alarm is in another state.",
    aggregate="alarm",
    source="aws.cloudwatch",
    detail_type="CloudWatch Alarm State Change",
    sample={"alarmName": "errors", "configuration": _CONFIGURATION, "previousState": _BEFORE, "state": _AFTER},
)
CONFIGURATION_CHANGED = EventType(
    name="cloudwatch.alarm.configuration_changed",
    description="An alarm was made, changed or deleted.",
    aggregate="alarm",
    source="aws.cloudwatch",
    detail_type="CloudWatch Alarm Configuration Change",
    sample={
        "alarmName": "errors",
        "operation": "create",
        "configuration": _CONFIGURATION | {"alarmName": "errors", "actionsEnabled": True},
        "state": _BEFORE,
    },
)

EVENTS = (STATE_CHANGED, CONFIGURATION_CHANGED)
