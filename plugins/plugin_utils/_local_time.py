# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Moments written by a local clock. Only the controller knows time zones: Python 3.8, which hosts may have, has none."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.moments import read_iso
from ansible_collections.seamless.rollout.plugins.plugin_utils._windows import find_zone


def with_offset(key: str, value: str, timezone: str | None) -> str:
    """Return the moment *value* with an offset, by *timezone* where it has none.

    Raises SeamlessError for a time of day that the zone does not have on that day, or has twice.
    """
    moment = read_iso(key, value)
    if moment.tzinfo is not None or not timezone:
        return moment.isoformat()
    zone = find_zone(timezone)
    early, late = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    back = early.astimezone(datetime.timezone.utc).astimezone(zone).replace(tzinfo=None)
    if back != moment:
        raise SeamlessError(f"{key} is {value!r}, which {timezone} does not have: its clocks are set forward over it. Write {back.isoformat()}, for example.")
    if early.utcoffset() != late.utcoffset():
        raise SeamlessError(
            f"{key} is {value!r}, which {timezone} has twice: its clocks are set back. Write {early.isoformat()} or {late.isoformat()}."
        )
    return early.isoformat()


def convert(args: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the arguments of a maintenance task with ``from`` and ``until`` as a host reads them, and without ``timezone``."""
    found = dict(args)
    timezone = found.pop("timezone", None)
    for key in ("from", "until"):
        if found.get(key):
            found[key] = with_offset(key, str(found[key]), timezone)
    return found
