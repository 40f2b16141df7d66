# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import datetime
import email.utils
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

_UTC = datetime.timezone.utc
_EXAMPLE = "2026-12-01T02:00:00+01:00"


class Window(t.NamedTuple):
    """From when until when the site is closed, each with the offset that its writer used. The end does not belong to it."""

    begin: datetime.datetime
    end: datetime.datetime

    @property
    def text(self) -> str:
        """The interval as ISO 8601 has it, in UTC: what front ends read in the header."""
        return f"{iso(self.begin)}/{iso(self.end)}"

    def contains(self, now: datetime.datetime) -> bool:
        return self.begin <= now < self.end


def read_iso(key: str, value: str) -> datetime.datetime:
    """Return a moment written as ISO 8601, naive where it has no offset. Python 3.8 reads fewer ways to write one than newer ones do."""
    text = re.sub(r"[zZ]$", "+00:00", value.strip())
    text = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text) if "T" in text or " " in text else text
    text = re.sub(r"([+-]\d\d)$", r"\1:00", text) if re.search(r"\d\d:\d\d[^+-]*[+-]\d\d$", text) else text
    if not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", text):
        raise SeamlessError(f"{key} is {value!r}: use a date and a time such as {_EXAMPLE}.")
    try:
        return datetime.datetime.fromisoformat(text).replace(microsecond=0)
    except ValueError as exc:
        raise SeamlessError(f"{key} is {value!r}, which is no moment ({exc}): write one such as {_EXAMPLE}.") from exc


def read_moment(key: str, value: str) -> datetime.datetime:
    """Return a moment that says by itself which one it is."""
    moment = read_iso(key, value)
    if moment.tzinfo is None:
        raise SeamlessError(f"{key} is {value!r}, without an offset: write {_EXAMPLE}, or set timezone to a name such as Europe/Berlin.")
    return moment


def read_window(begin: str | None, end: str | None, now: datetime.datetime) -> Window:
    """Return the window that is asked for. Raises SeamlessError for one that is over, or that ends before it begins."""
    if not begin or not end:
        raise SeamlessError(f"{'until' if begin else 'from'} is not set: state scheduled needs from and until, such as {_EXAMPLE}.")
    window = Window(read_moment("from", begin), read_moment("until", end))
    if window.end <= window.begin:
        raise SeamlessError(f"until is {end!r}, which is not after from, {begin!r}.")
    if window.end <= now:
        raise SeamlessError(f"until is {end!r}, and it is {iso(now)} already: name a window that is still to come.")
    return window


def iso(moment: datetime.datetime) -> str:
    return moment.astimezone(_UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def http_date(moment: datetime.datetime) -> str:
    return email.utils.format_datetime(moment.astimezone(_UTC), usegmt=True)


def readable(moment: datetime.datetime) -> str:
    """Return *moment* for people, by the clock of who wrote it."""
    offset = moment.strftime("%z")
    return moment.strftime("%Y-%m-%d %H:%M ") + ("UTC" if offset == "+0000" else f"UTC{offset[:3]}:{offset[3:5]}")


def seconds(moment: datetime.datetime) -> int:
    return int(moment.timestamp())


def between(low: int, high: int) -> str:
    """Return a regular expression for the whole numbers from *low* to *high*, which have as many digits as each other.

    nginx can't compare numbers, but it can match the time against this.
    """
    first, last = str(low), str(high)
    if len(first) != len(last) or low > high:
        raise ValueError(f"{low} and {high} are no range of numbers of one length")
    return "|".join(_between(first, last))


def _between(first: str, last: str) -> list[str]:
    if not first:
        return [""]
    if first[0] == last[0]:
        return [first[0] + rest for rest in _between(first[1:], last[1:])]
    rest = len(first) - 1
    lowest, highest = set(first[1:]) <= {"0"}, set(last[1:]) <= {"9"}
    below = [] if lowest else [first[0] + more for more in _between(first[1:], "9" * rest)]
    above = [] if highest else [last[0] + more for more in _between("0" * rest, last[1:])]
    begin, end = int(first[0]) + (not lowest), int(last[0]) - (not highest)
    whole = f"[{begin}-{end}]" if begin < end else str(begin)
    middle = [whole + (f"[0-9]{{{rest}}}" if rest else "")] if begin <= end else []
    return [*below, *middle, *above]
