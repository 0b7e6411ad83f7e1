"""Clients of the sample component, which botocore knows nothing of."""

from __future__ import annotations

import botocore.loaders
import botocore.session
import orjson
import sample_counters
from sample_counters.counters import Counter

from penstock.store.schema import metadata
from penstock.wire.services import merge

# The tests of one process share the declared tables, and compare them with the migrations, which know nothing of the sample's.
if Counter.table.name in metadata.tables:
    metadata.remove(Counter.table)


class _Models(botocore.loaders.Loader):
    """The sample's model, in the protocol of the service's name."""

    def load_service_model(self, service_name, type_name, api_version=None):
        if service_name not in sample_counters.PATCHES or type_name != "service-2":
            return super().load_service_model(service_name, type_name, api_version)
        model = orjson.loads((sample_counters.FOLDER / "service-2.json").read_bytes())
        return merge(model, sample_counters.PATCHES[service_name])


def client(url, credentials_file, service):
    """A client of one of its services, or of any other, with the administrator's keys."""
    lines = credentials_file.read_text().splitlines()
    keys = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    session = botocore.session.Session()
    session.register_component("data_loader", _Models())
    return session.create_client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=keys["aws_access_key_id"],
        aws_secret_access_key=keys["aws_secret_access_key"],
    )
