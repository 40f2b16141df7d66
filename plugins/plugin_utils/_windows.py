# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Change windows: when a rollout may start. Pure: windows and a time in, verdict out.

Open when no window of kind deny is active and, if there are windows of kind allow, one of them is. A window that crosses midnight
belongs to the day on which it begins. An hour that a clock change repeats counts once for allow and twice for deny.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import re
import typing as t

import zoneinfo
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
KEYS = ("kind", "days", "from", "to", "timezone", "start", "end", "name")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\Z")
_UTC = datetime.timezone.utc
_DAY = datetime.timedelta(days=1)
# How many openings and closings to look through for one that counts: more than a year of nightly windows.
_EDGES = 1000


class Verdict(t.NamedTuple):
    """Whether a rollout may start, why, and when that changes (None: never, as far as can be seen)."""

    open: bool
    why: str
    next_change: datetime.datetime | None


@dataclasses.dataclass(frozen=True)
class Window:
    """One checked window. *begin* and *end* are minutes of the day; an *end* that is not later is on the next day."""

    kind: str
    name: str
    days: frozenset[int]
    begin: int
    end: int
    zone: datetime.tzinfo
    first: datetime.date | None
    last: datetime.date | None

    def span(self, day: datetime.date) -> tuple[datetime.datetime, datetime.datetime] | None:
        """Return when the window that begins on *day* opens and closes, in UTC, or None if there is none."""
        if day.weekday() not in self.days or (self.first and day < self.first) or (self.last and day > self.last):
            return None
        begin = self._instant(day, self.begin)
        end_day, minute = (day, self.end) if self.end > self.begin else (day + _DAY, self.end)
        end = self._instant(end_day, minute)
        return begin, max(end, self._instant(end_day, minute, fold=1)) if self.kind == "deny" else end

    def _instant(self, day: datetime.date, minute: int, fold: int = 0) -> datetime.datetime:
        day, minute = (day + _DAY, 0) if minute == 1440 else (day, minute)
        return datetime.datetime(day.year, day.month, day.day, *divmod(minute, 60), tzinfo=self.zone, fold=fold).astimezone(_UTC)

    def active(self, now: datetime.datetime) -> bool:
        today = now.astimezone(self.zone).date()
        spans = (self.span(today + offset * _DAY) for offset in (-2, -1, 0, 1))
        return any(span is not None and span[0] <= now < span[1] for span in spans)

    def next_edge(self, after: datetime.datetime) -> datetime.datetime | None:
        """Return the next moment later than *after* at which the window opens or closes."""
        day = after.astimezone(self.zone).date() - 2 * _DAY
        if self.first and day < self.first - 2 * _DAY:
            day = self.first
        edges: list[datetime.datetime] = []
        for offset in range(12):
            edges += self.span(day + offset * _DAY) or ()
        return min((edge for edge in edges if edge > after), default=None)


def read_window(entry: t.Any) -> Window:
    """Return *entry* checked. Raises SeamlessError naming the key, its value and what would do."""
    if not isinstance(entry, dict):
        raise SeamlessError(f'{entry!r} is no window: use a dictionary such as {{kind: allow, from: "22:00", to: "06:00", timezone: Europe/Berlin}}.')
    for key in entry:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            raise SeamlessError(f"{key!r} means nothing here, known are {', '.join(KEYS)}." + (f" Did you mean {near[0]}?" if near else ""))
    kind = str(entry.get("kind", ""))
    if kind not in ("allow", "deny"):
        raise SeamlessError(f"kind is {entry.get('kind')!r}: use allow or deny.")
    days = _days(entry.get("days"))
    begin = _minutes("from", entry.get("from"), 0)
    end = _minutes("to", entry.get("to"), 1440)
    if begin == end:
        raise SeamlessError(f"from and to are both {entry.get('from')!r}: leave both out for the whole day.")
    first, last = _date("start", entry.get("start")), _date("end", entry.get("end"))
    if first and last and last < first:
        raise SeamlessError(f"end is {last}, before start ({first}): swap them.")
    name = entry.get("timezone")
    if not name and any(entry.get(key) not in (None, "", []) for key in ("from", "to", "days")):
        raise SeamlessError("timezone is not set: hours and days mean nothing without one, name it such as Europe/Berlin or UTC.")
    return Window(kind, str(entry.get("name") or ""), days, begin, end, find_zone(str(name or "UTC")), first, last)


def _days(value: t.Any) -> frozenset[int]:
    if value in (None, "", []):
        return frozenset(range(7))
    names = [str(day).lower() for day in value] if isinstance(value, list) else [str(value).lower()]
    unknown = [name for name in names if name not in DAYS]
    if unknown:
        raise SeamlessError(f"days has {', '.join(map(repr, unknown))}: use a list of {', '.join(DAYS)}.")
    return frozenset(DAYS.index(name) for name in names)


def _minutes(key: str, value: t.Any, default: int) -> int:
    if value is None or value == "":
        return default
    if isinstance(value, int):
        raise SeamlessError(f'{key} is {value!r}, which YAML made a number: write the time of day in quotes, such as "22:00".')
    if key == "to" and value == "24:00":
        return 1440
    found = _CLOCK.match(str(value))
    if not found:
        raise SeamlessError(f'{key} is {value!r}: use a time of day in quotes, such as "22:00".')
    return int(found.group(1)) * 60 + int(found.group(2))


def _date(key: str, value: t.Any) -> datetime.date | None:
    if value is None or value == "":
        return None
    try:
        return datetime.datetime.strptime(str(value), "%Y-%m-%d").date()
    except ValueError:
        raise SeamlessError(f"{key} is {value!r}: use a date such as 2026-12-20.") from None


def find_zone(name: str) -> datetime.tzinfo:
    if name == "UTC":
        return _UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        if not known:
            raise SeamlessError(
                f"timezone is {name!r}, and this controller has no time zone data: install the package tzdata, of the system or with pip."
            ) from None
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        raise SeamlessError(
            f"timezone is {name!r}, which is not known: use a name such as Europe/Berlin or UTC." + (f" Did you mean {near[0]}?" if near else "")
        ) from None


def window_problems(windows: t.Any) -> list[str]:
    """Return a sentence for every window of ``rollout_windows`` that can't be read."""
    if not isinstance(windows, list):
        return [f"rollout_windows is {windows!r}: use a list, for example [{{kind: deny, start: 2026-12-20, end: 2027-01-02}}]."]
    problems = []
    for index, entry in enumerate(windows):
        try:
            read_window(entry)
        except SeamlessError as exc:
            problems.append(f"rollout_windows[{index}]: {exc}")
    return problems


def judge(windows: t.Sequence[t.Mapping[str, t.Any]], now: datetime.datetime) -> Verdict:
    """Say whether a rollout may start at *now*. Raises SeamlessError for a window that can't be read."""
    read = [read_window(dict(window)) for window in windows]
    is_open = _open(read, now)
    change = _next_change(read, now)
    where = next((window.zone for window in read), _UTC)
    when = f"{'closes' if is_open else 'opens'} {_moment(change, where)}, in {duration(change - now)}" if change else "nothing changes that"
    if is_open:
        return Verdict(True, f"open; {when}" if change else "open", change)
    denied = [window for window in read if window.kind == "deny" and window.active(now)]
    why = f"closed by {' and '.join(_label(window) for window in denied)}" if denied else "none that allows a rollout is open"
    return Verdict(False, f"{why}, it is {_moment(now, where)}; {when}", change)


def _open(windows: t.Sequence[Window], now: datetime.datetime) -> bool:
    allow = [window for window in windows if window.kind == "allow"]
    denied = any(window.active(now) for window in windows if window.kind == "deny")
    return not denied and (not allow or any(window.active(now) for window in allow))


def _next_change(windows: t.Sequence[Window], now: datetime.datetime) -> datetime.datetime | None:
    is_open = _open(windows, now)
    edge = now
    for dummy in range(_EDGES):
        edges = [found for found in (window.next_edge(edge) for window in windows) if found]
        if not edges:
            return None
        edge = min(edges)
        if _open(windows, edge) != is_open:
            return edge
    return None


def _label(window: Window) -> str:
    dates = [f"{word} {date}" for word, date in (("from", window.first), ("to", window.last)) if date]
    return window.name or " ".join(["a window of kind deny", *dates])


def _moment(moment: datetime.datetime, zone: datetime.tzinfo) -> str:
    local = moment.astimezone(zone)
    return f"{local:%a %Y-%m-%d %H:%M} {getattr(zone, 'key', None) or 'UTC'}"


def duration(span: datetime.timedelta | float) -> str:
    """Return a length of time for people: the two largest units."""
    seconds = round(span.total_seconds() if isinstance(span, datetime.timedelta) else span)
    units = [(seconds // 86400, "d"), (seconds % 86400 // 3600, "h"), (seconds % 3600 // 60, "min"), (seconds % 60, "s")]
    first = next((index for index, (number, dummy) in enumerate(units) if number), 3)
    return " ".join(f"{number} {unit}" for number, unit in units[first:first + 2] if number) or "0 s"
