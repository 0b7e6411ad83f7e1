"""What an AppSpec file says that nobody reads: misspelt hooks and keys, with what was probably meant."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Sequence, Tuple

from penstock_agent.documents import Mapping, line_of

SCRIPTED = (
    "BeforeBlockTraffic",
    "AfterBlockTraffic",
    "ApplicationStop",
    "BeforeInstall",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
    "BeforeAllowTraffic",
    "AfterAllowTraffic",
)
UNSCRIPTED = ("Start", "BlockTraffic", "DownloadBundle", "Install", "AllowTraffic", "End")
_TOP = ("version", "os", "files", "permissions", "hooks", "file_exists_behavior")
_ENTRIES: Dict[str, Tuple[str, ...]] = {
    "files": ("source", "destination"),
    "permissions": ("object", "pattern", "except", "owner", "group", "mode", "acls", "context", "type"),
    "hooks": ("location", "timeout", "runas", "sudo"),
}
MAX_LISTED = 20


def unread_keys(document: Mapping) -> List[str]:
    """A sentence for each key that means nothing where it stands."""
    found = _unread(document, _TOP, "at the top level of the AppSpec file")
    for section in ("files", "permissions"):
        found += _of_entries(document.get(section), _ENTRIES[section], "the %s section" % section)
    hooks = document.get("hooks")
    if isinstance(hooks, Mapping):
        for name, scripts in hooks.items():
            found += _of_entries(scripts, _ENTRIES["hooks"], "the hook %s" % _show(name))
    return found[:MAX_LISTED]


def unknown_hooks(document: Mapping) -> Dict[str, str]:
    """Hooks that no event runs by itself, with a sentence for each."""
    hooks = document.get("hooks")
    found: Dict[str, str] = {}
    for name in hooks if isinstance(hooks, Mapping) else ():
        if name in SCRIPTED or len(found) >= MAX_LISTED:
            continue
        if name in UNSCRIPTED:
            why = "is an event that runs no scripts"
        else:
            why = "is no lifecycle event" + _meant(str(name), SCRIPTED)
        found[str(name)] = "the hook %s (line %d) %s: its scripts do not run." % (_show(name), line_of(name), why)
    return found


def _of_entries(entries: Any, known: Sequence[str], where: str) -> List[str]:
    found: List[str] = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping):
            found += _unread(entry, known, "in " + where)
        if len(found) >= MAX_LISTED:
            break
    return found


def _unread(mapping: Mapping, known: Sequence[str], where: str) -> List[str]:
    return [
        "The key %s (line %d) means nothing %s%s." % (_show(key), line_of(key), where, _meant(str(key), known))
        for key in mapping
        if key not in known
    ]


def _meant(name: str, known: Iterable[str]) -> str:
    import difflib

    lowered = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name[:100].lower(), list(lowered), 1, 0.7)
    return " (%s was probably meant)" % lowered[close[0]] if close else ""


def _show(name: object) -> str:
    text = "".join(c if c.isprintable() else "?" for c in str(name))
    return text if len(text) <= 80 else text[:80] + "…"
