"""Breaks functions of a program that has been imported already.

To import the program and the tests of a package takes several seconds, and to run the tests of one place a tenth of that. So a process
does the former once and forks for each place, and the fork puts the broken code into the functions that it finds.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, FunctionType


def broken_functions(path: Path, source: bytes, broken: bytes) -> dict[CodeType, CodeType] | None:
    """The new code of each function that differs, by its old code; None where what runs on import differs.

    That is everything outside of functions: constants, classes' bodies, decorators and defaults.
    """
    old, new = (compile(text, path, "exec", dont_inherit=True) for text in (source, broken))
    found: dict[CodeType, CodeType] = {}
    return found if _compare(old, new, found, imported=True) else None


def exchange(path: Path, codes: Mapping[CodeType, CodeType]) -> None:
    """Give the functions of a file that have one of these codes the other one.

    Raises LookupError when there is none, and ValueError when one would get other closure variables than it has.
    """
    gc.unfreeze()  # what pytest has put aside is not listed
    functions = [each for each in gc.get_objects() if isinstance(each, FunctionType)]
    own = [each for each in functions if each.__code__.co_filename == str(path) and each.__code__ in codes]
    for each in own:
        each.__code__ = codes[each.__code__]
    if codes and not own:
        raise LookupError(f"no function of {path} has the code")


def _compare(old: CodeType, new: CodeType, found: dict[CodeType, CodeType], *, imported: bool) -> bool:
    inner = _inner(old), _inner(new)
    if imported and (len(inner[0]) != len(inner[1]) or _own(old) != _own(new)):
        return False
    if not imported and old != new:
        found[old] = new
    if len(inner[0]) != len(inner[1]):
        return True  # those within come anew with each call of this one
    return all(
        _compare(one, other, found, imported=imported and not _is_function(one))
        for one, other in zip(*inner, strict=True)
    )


def _inner(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _own(code: CodeType) -> object:
    """All that a code does but for the code within."""
    return code.co_code, code.co_names, [each for each in code.co_consts if not isinstance(each, CodeType)]


def _is_function(code: CodeType) -> bool:
    """Not the body of a class, nor a comprehension: that runs as soon as it is come to."""
    return bool(code.co_flags & inspect.CO_OPTIMIZED) and (code.co_name == "<lambda>" or code.co_name[0] != "<")
