"""botocore clients that speak a protocol of our choice, whichever the model prefers."""

from __future__ import annotations

from typing import Any

import botocore.config
import botocore.loaders
import botocore.session
from penstock_live import Live


class _Loader(botocore.loaders.Loader):
    """Models that state one protocol only."""

    def __init__(self, protocol: str) -> None:
        super().__init__()
        self._protocol = protocol

    def load_service_model(self, *args: Any, **kwargs: Any) -> Any:
        model = super().load_service_model(*args, **kwargs)
        if "metadata" not in model or self._protocol not in model["metadata"]["protocols"]:
            return model
        return model | {"metadata": model["metadata"] | {"protocol": self._protocol, "protocols": [self._protocol]}}


def client_speaking(live: Live, protocol: str, service: str, keys: dict[str, str] | None = None) -> Any:
    """A client of botocore that checks no parameters and tries once."""
    session = botocore.session.Session()
    session.register_component("data_loader", _Loader(protocol))
    client = session.create_client(
        service,
        region_name="us-east-1",
        endpoint_url=live.url,
        config=botocore.config.Config(parameter_validation=False, retries={"total_max_attempts": 1}, read_timeout=30),
        **(keys or live.keys()),
    )
    assert client.meta.service_model.resolved_protocol == protocol
    return client
