"""The part of PyYAML 6.0.3 that turns text into events: reader, scanner, parser (unchanged; licence beside this file)."""

from .error import YAMLError
from .events import AliasEvent, DocumentStartEvent, MappingEndEvent, NodeEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent
from .parser import Parser
from .reader import Reader
from .scanner import Scanner

__version__ = "6.0.3"


class Events(Reader, Scanner, Parser):
    """The events of a YAML text, by `check_event` and `get_event`."""

    def __init__(self, text):
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)

    def __iter__(self):
        while self.check_event():
            yield self.get_event()
