"""What SNS calls a denial: its other refusals are those of every Query service."""

from __future__ import annotations

from penstock.wire import errors
from penstock.wire.codec_query import QueryCodec
from penstock.wire.refusals import QUERY, Wording, Wordings


class TopicsCodec(QueryCodec):
    """awsQuery, with SNS's code of a denial."""

    refusals = Wordings(
        table={**QUERY.table, errors.AccessDenied: Wording("AuthorizationError", 403)}, other=QUERY.other
    )
