"""DORA's five figures of how a pipeline delivers (https://dora.dev/guides/dora-metrics-four-keys/), from runs of its production stage.

Pure. The definitions, which docs/how-to/dora.md tells people:

- A deployment is a run of the production stage that has succeeded or failed; each retry is one of its own.
- Deployment frequency: successful deployments a day.
- Change lead time: of each revision, from when it was made to the end of the first successful deployment with it.
- A deployment has failed when it did not succeed, or when the next successful one put back revisions that had been live before.
- Change failure rate: failed deployments among all.
- Failed deployment recovery time: from the end of the first failed deployment to the end of the next one that did not fail.
- Rework rate: deployments made while the one before had failed, among all.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

DAY_MS = 86_400_000


class Revision(NamedTuple):
    """What a source action fetched."""

    source: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a production stage that has succeeded or failed. Times are in ms."""

    ended: int
    succeeded: bool
    revisions: Mapping[Revision, int]  # with the time when each was made


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """An attempt, judged beside those before and after it."""

    ended: int  # ms
    succeeded: bool
    failed: bool  # it did not succeed, or was rolled back
    rework: bool  # the one before had failed
    leads: tuple[int, ...]  # ms: of each revision that came into production with it
    opens: bool  # an incident begins with it
    recovered: int | None = None  # ms until that incident was over; None when it is not


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The five figures. Times are in seconds; a rate or a time of nothing is None."""

    succeeded: int
    failed: int
    per_day: float
    lead: float | None  # median
    lead_p90: float | None
    failure_rate: float | None
    recovery: float | None  # median
    unrecovered: int  # incidents that are not over
    rework_rate: float | None


def judged(attempts: Iterable[Attempt]) -> list[Deployment]:
    """The deployments of one pipeline in the order in which they ended."""
    ordered = sorted(attempts, key=lambda one: one.ended)
    rolled_back = _rolled_back(ordered)
    seen: set[Revision] = set()
    found: list[Deployment] = []
    opening: int | None = None  # where in `found` the present incident began
    for place, attempt in enumerate(ordered):
        failed = not attempt.succeeded or place in rolled_back
        leads: tuple[int, ...] = ()
        if attempt.succeeded:
            new = [made for revision, made in sorted(attempt.revisions.items()) if revision not in seen]
            leads = tuple(max(0, attempt.ended - made) for made in new)
            seen |= attempt.revisions.keys()
        rework, opens = opening is not None, failed and opening is None
        if opening is not None and not failed:
            found[opening] = _recovered(found[opening], attempt.ended)
            opening = None
        elif opens:
            opening = place
        found.append(
            Deployment(
                ended=attempt.ended,
                succeeded=attempt.succeeded,
                failed=failed,
                rework=rework,
                leads=leads,
                opens=opens,
            )
        )
    return found


def _rolled_back(ordered: Sequence[Attempt]) -> set[int]:
    """The places of successful attempts whose successor put back what had been live before them."""
    successes = [place for place, attempt in enumerate(ordered) if attempt.succeeded and attempt.revisions]
    live = [frozenset(ordered[place].revisions) for place in successes]
    found: set[int] = set()
    before: set[frozenset[Revision]] = set()
    for index in range(len(successes) - 1):
        if live[index + 1] != live[index] and live[index + 1] in before:
            found.add(successes[index])
        before.add(live[index])
    return found


def _recovered(opening: Deployment, ended: int) -> Deployment:
    return Deployment(
        ended=opening.ended,
        succeeded=opening.succeeded,
        failed=opening.failed,
        rework=opening.rework,
        leads=opening.leads,
        opens=True,
        recovered=ended - opening.ended,
    )


def figures(deployments: Iterable[Deployment], *, since: int, until: int) -> Figures:
    """Of the deployments, of one pipeline or several, that ended in a time: from `since` on and before `until`, in ms."""
    within = [one for one in deployments if since <= one.ended < until]
    leads = sorted(lead for one in within for lead in one.leads)
    recoveries = [one.recovered for one in within if one.recovered is not None]
    succeeded = sum(one.succeeded for one in within)
    failed = sum(one.failed for one in within)
    return Figures(
        succeeded=succeeded,
        failed=failed,
        per_day=succeeded / ((until - since) / DAY_MS),
        lead=statistics.median(leads) / 1000 if leads else None,
        lead_p90=leads[-(-9 * len(leads) // 10) - 1] / 1000
        if leads
        else None,  # the least that nine of ten do not exceed
        failure_rate=failed / len(within) if within else None,
        recovery=statistics.median(recoveries) / 1000 if recoveries else None,
        unrecovered=sum(one.opens and one.recovered is None for one in within),
        rework_rate=sum(one.rework for one in within) / len(within) if within else None,
    )


class Day(NamedTuple):
    """How many deployments of a day did not fail, and how many failed."""

    date: str  # of UTC, such as 2026-11-30
    good: int
    failed: int


def by_day(deployments: Iterable[Deployment], *, since: int, until: int) -> list[Day]:
    """Each day from `since` on, which is the beginning of one, in ms."""
    days = [[0, 0] for _ in range(-(-(until - since) // DAY_MS))]
    for one in deployments:
        if since <= one.ended < until:
            days[(one.ended - since) // DAY_MS][one.failed] += 1
    dates = (datetime.fromtimestamp((since + number * DAY_MS) / 1000, UTC).date() for number in range(len(days)))
    return [Day(date.isoformat(), good, failed) for date, (good, failed) in zip(dates, days, strict=True)]
