# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The four measures of software delivery by DORA, from the rollouts of an application. Pure: rollouts in, numbers out.

Definitions: https://dora.dev/guides/dora-metrics/ (change lead time, deployment frequency, change fail rate, failed deployment recovery time, which until
2023 was called time to restore service). What counts as what here is said at each function.
"""

from __future__ import annotations

import dataclasses
import statistics
import typing as t

DAY = 86400.0
DEPLOYS = ("release", "update", "promote")
GOOD = "succeeded"
FAILED = ("failed", "rolled_back", "rollback_failed", "aborted", "interrupted")
# Ways in which an application gets back to a good state.
RESTORES = (*DEPLOYS, "rollback", "recover")


@dataclasses.dataclass(frozen=True)
class Past:
    """A rollout that is over. Moments are seconds since 1970; *touched* says whether any host was changed, *left* which releases hosts ran before,
    *lead* from when its release's lead time counts, and *lead_from* whether that is the ``commit`` or when it was first ``staged``."""

    id: str
    mode: str
    state: str
    release: str | None
    started_at: float
    finished_at: float
    touched: bool = True
    left: frozenset[str] = frozenset()
    lead: float | None = None
    lead_from: str | None = None


def deployments(rollouts: t.Iterable[Past]) -> list[Past]:
    """Return the deployments, oldest first: rollouts of a release or an update that ended well or badly and changed a host.

    A rollout that was refused, or that failed before any host was changed, never reached production.
    """
    found = [one for one in rollouts if one.mode in DEPLOYS and one.touched and one.state in (GOOD, *FAILED)]
    return sorted(found, key=lambda one: (one.started_at, one.id))


def taken_back(one: Past, rollouts: t.Iterable[Past]) -> bool:
    """Say whether a deployment that succeeded had to be taken back: the next thing that succeeded after it was a rollback from its release."""
    later = sorted(
        (other for other in rollouts if other.started_at > one.started_at and other.mode in RESTORES and other.touched and other.state == GOOD),
        key=lambda other: (other.started_at, other.id),
    )
    return bool(later) and later[0].mode == "rollback" and one.release is not None and one.release in later[0].left


def restored_at(one: Past, rollouts: t.Iterable[Past]) -> float | None:
    """Return when the application was in a good state after the failed deployment *one*, None if it has not been since.

    That is when its own undo was finished, or else when the next rollout, rollback or recovery had succeeded.
    """
    if one.state == "rolled_back":
        return one.finished_at
    good = [other.finished_at for other in rollouts if other.id != one.id and other.mode in RESTORES and other.state == GOOD]
    return min((at for at in good if at > one.started_at and at >= one.finished_at), default=None)


def measure(rollouts: t.Sequence[Past], since: float, until: float) -> dict[str, t.Any]:
    """Return the four measures for deployments that began in [*since*, *until*]. Times are in seconds, medians; None where there is nothing to measure."""
    made = [one for one in deployments(rollouts) if since <= one.started_at <= until]
    good = [one for one in made if one.state == GOOD]
    failed = [one for one in made if one.state in FAILED or taken_back(one, rollouts)]
    leads = [one.finished_at - one.lead for one in good if one.lead is not None and one.lead <= one.finished_at]
    restored = [(one, restored_at(one, rollouts)) for one in failed]
    times = [at - one.started_at for one, at in restored if at is not None]
    days = max(until - since, 0.0) / DAY
    return {
        "days": round(days, 1),
        "deployments": len(made),
        "succeeded": len(good),
        "failed": len(failed),
        "deployments_per_day": round(len(good) / days, 4) if days else None,
        "lead_time_seconds": statistics.median(leads) if leads else None,
        "lead_time_from": {kind: sum(one.lead_from == kind and one.lead is not None for one in good) for kind in ("commit", "staged")},
        "change_fail_rate": round(len(failed) / len(made), 4) if made else None,
        "recovery_seconds": statistics.median(times) if times else None,
        "not_restored": [one.id for one, at in restored if at is None],
    }


def lasted(seconds: float | None) -> str:
    """Return a length of time for people, in its largest two units."""
    if seconds is None:
        return "-"
    left, parts = max(0, round(seconds)), []
    for name, unit in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, unit)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
