# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""How many hosts an undo takes out of rotation at once. Pure.

A host that is out of rotation already costs nothing and goes first; the others may only leave beside what is out at that moment.
"""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._window import Window, why_no_room, with_room

NO_EARLIER_RELEASE = "there is no earlier release on this host"


def batches(plan: Window, hosts: t.Sequence[str], drained: t.AbstractSet[str], most: int) -> list[list[str]]:
    """Cut *hosts*, in their order, into batches of *most* at most that lack no tier and no zone more than it can bear.

    *drained* are the hosts that are out of rotation when the undo begins; each is back when its batch is done.
    """
    cut: list[list[str]] = []
    left = set(drained)
    for host in hosts:
        if not cut or len(cut[-1]) >= most or host not in left and why_no_room(plan, host, left | set(cut[-1])):
            left -= set(cut[-1]) if cut else set()
            cut.append([])
        cut[-1].append(host)
    return cut


def startable(plan: Window, hosts: t.Sequence[str], drained: t.AbstractSet[str], out: t.AbstractSet[str]) -> tuple[list[str], str]:
    """Return which hosts of a batch may leave rotation beside those that are *drained* by now, and why the first of the others may not.

    Whether one alone may leave is for the balancers to say when it is drained. But they know no zones: those are judged by who is *out* for them.
    """
    going, why = (list(hosts), "") if len(hosts) == 1 else with_room(plan, hosts, drained)
    gone = set(drained) | set(out)
    for host in list(going) if plan.has_zone_floors else ():
        problem = "" if host in gone else why_no_room(plan, host, (gone | set(going)) - {host}, zone_only=True)
        if problem:
            going.remove(host)
            why = why or problem
    return going, why
