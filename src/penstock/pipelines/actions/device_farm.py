"""Device Farm: declared, not run. Tests an application on devices. AWS: action-reference-DeviceFarm."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class DeviceFarm(NotRun):
    """Tests an application on devices."""

    types = (
        ActionType(
            id=ActionTypeId(category="Test", owner="AWS", provider="DeviceFarm"),
            properties=(
                Property(
                    name="AppType",
                    description="The kind of application",
                    required=True,
                    values=("iOS", "Android", "Web"),
                ),
                Property(name="ProjectId", description="The project", required=True, key=True),
                Property(name="App", description="The application's file in the artifact", required=True),
                Property(name="DevicePoolArn", description="The devices", required=True),
                Property(name="TestType", description="The kind of test", required=True),
                Property(name="AppiumVersion", description="The version of Appium, which is ignored"),
                Property(name="Test", description="The file of the tests in the artifact"),
                Property(name="RadioBluetoothEnabled", description="Whether Bluetooth is on", values=("true", "false")),
                Property(name="RadioWifiEnabled", description="Whether Wi-Fi is on", values=("true", "false")),
                Property(name="RadioNfcEnabled", description="Whether NFC is on", values=("true", "false")),
                Property(name="RadioGpsEnabled", description="Whether GPS is on", values=("true", "false")),
                Property(
                    name="RecordAppPerformanceData",
                    description="Whether to record the application's figures",
                    values=("true", "false"),
                ),
                Property(name="RecordVideo", description="Whether to record a video", values=("true", "false")),
                Property(
                    name="UnmeteredDevicesOnly",
                    description="Whether to use unmetered devices only",
                    values=("true", "false"),
                ),
                Property(name="FuzzEventCount", description="How many events a fuzz test sends, 1 to 10000"),
                Property(name="FuzzEventThrottle", description="Milliseconds between them, 1 to 1000"),
                Property(name="FuzzRandomizerSeed", description="The seed of a fuzz test"),
                Property(name="CustomHostMachineArtifacts", description="Where the host keeps further files"),
                Property(name="CustomDeviceArtifacts", description="Where devices keep further files"),
                Property(name="JobTimeoutMinutes", description="Minutes that a test may take on a device"),
                Property(name="Latitude", description="Where devices are"),
                Property(name="Longitude", description="Where devices are"),
            ),
            inputs=(1, 1),
            outputs=(0, 0),
            timeout=8 * HOUR,
        ),
    )
    why = "Penstock has no connection to Device Farm. Use a CodeBuild action that runs the tests."


PROVIDER = DeviceFarm()
