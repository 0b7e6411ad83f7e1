"""The operations of CodePipeline, and what Penstock adds to them."""

from penstock.component import operations_of
from penstock.pipelines.errors import InvalidNextTokenException
from penstock.wire.pages import Pages

operation = operations_of("codepipeline")
ours = operations_of("penstock")

PAGES = Pages(lambda _token: InvalidNextTokenException())
