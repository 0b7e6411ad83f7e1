"""restXml as S3 speaks it: its namespace, its errors without a wrapper, and the headers that name a request."""

from __future__ import annotations

import base64
import re

from penstock.objects.refusals import S3
from penstock.wire.codec_rest_xml import RestXmlCodec
from penstock.wire.errors import ServiceError
from penstock.wire.message import HeaderList
from penstock.wire.shapes import Model, Shape
from penstock.wire.xml_writer import escape

_ERROR_ELEMENT = re.compile(r"[A-Z][A-Za-z0-9-]*|additionalMessage")


class S3Codec(RestXmlCodec):
    """The codec of S3. botocore's models drop the trait that says how its errors stand. AWS: S3 API Reference, "Error responses"."""

    refusals = S3
    always_millis = True

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

    def id_headers(self, request_id: str) -> HeaderList:
        """See RestCodec."""
        return [
            (b"x-amz-request-id", request_id.encode("latin-1")),
            (b"x-amz-id-2", _host_id(request_id).encode("latin-1")),
        ]

    def error_document(
        self,
        code: str,
        error: ServiceError,
        shape: Shape | None,  # noqa: ARG002 - S3's elements are not in its model
        request_id: str,
        answer: HeaderList,  # noqa: ARG002 - nor are any of them headers
    ) -> str:
        """See RestXmlCodec. Values whose names start with a capital become elements."""
        elements = "".join(
            f"<{name}>{escape(str(value))}</{name}>"
            for name, value in error.values.items()
            if _ERROR_ELEMENT.fullmatch(name) and value is not None
        )
        return (
            f"<Error><Code>{escape(code)}</Code><Message>{escape(error.message)}</Message>{elements}"
            f"<RequestId>{escape(request_id)}</RequestId><HostId>{_host_id(request_id)}</HostId></Error>"
        )


def _host_id(request_id: str) -> str:
    return base64.b64encode(request_id.encode()).decode()
