# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ground that the faults happen on: a small fleet, releases that can be told to misbehave, and eyes that see everything in passing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
import typing as t
import urllib.request

from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from fleet.fleet import ENGINE, REPO, STATE_FILE, Fleet, run
from fleet.load import Sample
from fleet.site import SERVER, UNIT, VARIABLES, Site

WEB, FLOOR = 4, 2
FILES = 6

# Each application notes the requests that it gets.
REQUESTS = "/var/log/shop-requests"
# A fault of the application is a file on the host that holds the name of the release which shall have it.
FAULTS = f'''
SEEN = os.open("{REQUESTS}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
''' + '''

def fault(name):
    try:
        with open("/var/lib/fault-" + name) as file:
            return file.read().strip() in (VERSION, "any")
    except OSError:
        return False


def stop(*arguments):
    if not fault("hangs"):
        os._exit(0)


if fault("refuses"):
    sys.exit("this release does not start on this host")
if fault("dies"):
    threading.Timer(3, os._exit, [1]).start()
if fault("old"):
    VERSION = "0.0-old"
'''
PROGRAM = SERVER.replace("time.sleep(START)\n", f"{FAULTS}\ntime.sleep(START)\n").replace("lambda *arguments: os._exit(0)", "stop")
PROGRAM = PROGRAM.replace("def do_GET(self):\n", 'def do_GET(self):\n        os.write(SEEN, f"{self.path}\\n".encode())\n')

# A wall clock that is off, for every Python process that starts on the host. What it does not shift, and a host whose clock is wrong would: the
# times of files, which the kernel sets, and what programs other than Python read. The monotonic clock stays true, as it does there.
CLOCK = """\
import time

_now, _now_ns, _gmtime, _localtime, _strftime = time.time, time.time_ns, time.gmtime, time.localtime, time.strftime
time.time = lambda: _now() + {offset}
time.time_ns = lambda: _now_ns() + {offset} * 10**9
time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
time.strftime = lambda form, at=None: _strftime(form, time.localtime() if at is None else at)
"""
CLOCK_FILE = "/usr/lib/python3/dist-packages/clock_off"

# What every rollout has to do once, before its hosts and after them: one line for each time that it ran.
NOTE = "Note that it ran"
ONCE = f"""\
- name: {NOTE}
  ansible.builtin.shell: echo "{{{{ rollout_release }}}}" >> "%s"
  delegate_to: localhost
  changed_when: true
"""
POINTS = ("before", "after")


def begun_at(pid: str) -> str:
    """Return when the process began, in ticks since the machine did, or "" where there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def has_own_root(pid: str) -> bool:
    try:
        return not os.path.samefile(f"/proc/{pid}/root/", "/")
    except OSError:
        return False


class Ground(Site):
    """A site of four hosts behind two balancers that goes from one good release to the next, one for each fault."""

    def __init__(self, fleet: Fleet, pace: str) -> None:
        super().__init__(fleet, files=FILES, size=2000)
        self.pace = pace
        self.number = 0
        self.live = ""
        self.patience = 120.0
        self._pids: dict[str, tuple[str, str]] = {}

    def prepare(self) -> None:
        with open(self.fleet.inventory, encoding="utf-8") as file:
            inventory = file.read()
        # A lost host costs every task on it the time that SSH takes to notice.
        with open(self.fleet.inventory, "w", encoding="utf-8") as file:
            file.write(inventory.replace("ServerAliveInterval=2", "ServerAliveInterval=1").replace("ConnectTimeout=4", "ConnectTimeout=2"))
        for point in POINTS:
            with open(self._once(point, "yml"), "w", encoding="utf-8") as file:
                file.write(ONCE % self._once(point, "log"))
        unit = UNIT.replace("Restart=on-failure", "Environment=START_SECONDS=0.3\nTimeoutStopSec=2\nRestart=on-failure")
        for host in self.fleet.web:
            self.fleet.put(host, "/etc/systemd/system/shop.service", unit)
            self.fleet.shell(host, "systemctl daemon-reload && systemctl enable -q shop")
        first = self.next_release()
        played = self.rollout(first, **{**self.settings(), "min_available": 0, "max_unavailable": ""})
        if played.code != 0:
            raise RuntimeError(f"the first release failed: {played.text}")
        self.live = first
        # A run that takes longer hangs. How long one takes is for the machine to say.
        self.patience = max(self.patience, 5 * played.seconds)

    def _once(self, point: str, kind: str) -> str:
        return os.path.join(self.fleet.directory, f"once-{point}.{kind}")

    def once_ran(self, release: str) -> dict[str, int]:
        """Return how often what has to happen once for *release* has happened, at each point."""
        found = {}
        for point in POINTS:
            try:
                with open(self._once(point, "log"), encoding="utf-8") as file:
                    found[point] = file.read().split().count(release)
            except FileNotFoundError:
                found[point] = 0
        return found

    def settings(self) -> dict[str, t.Any]:
        return {
            **{f"once_{point}": [self._once(point, "yml")] for point in POINTS},
            "pace": self.pace, "batch": [1, 2], "canary": 1, "max_unavailable": WEB - FLOOR, "keep_releases": 3, "health_interval": 0.2,
            "healthy_deadline": 20, "drain_timeout": 10, "enable_timeout": 10,
            # Without it a balancer that is reloaded between a drain and a restart sends requests to a host that goes down.
            "balancers": [{**entry, "persist_state": STATE_FILE} for entry in VARIABLES["rollout_balancers"]],
        }

    @property
    def ledger(self) -> Ledger:
        return Ledger(os.path.join(self.fleet.environment["XDG_STATE_HOME"], "seamless-rollout", "shop"))

    def next_release(self) -> str:
        self.number += 1
        release = f"{self.number}.0"
        self.build(release, broken=PROGRAM)
        return release

    def flag(self, host: str, name: str, release: str) -> None:
        self.fleet.put(host, f"/var/lib/fault-{name}", release)

    def clear_flags(self) -> None:
        for host in self.fleet.web:
            self.fleet.shell(host, "rm -f /var/lib/fault-*", check=False)

    def place(self, host: str, path: str) -> str:
        """Return *path* of a host as this machine sees it. Reading there costs the host nothing, and works while its network is cut."""
        pid, begun = self._pids.get(host, ("0", ""))
        # A number whose container has died is soon that of another process of this machine, which has a root of its own.
        if not begun or begun_at(pid) != begun:
            pid = run(ENGINE, "inspect", "--format", "{{.State.Pid}}", self.fleet.name(host)).strip()
            # Of a container that is down it is 0, and one that is being started is still in this machine's own root: a look at the next one,
            # from whatever thread, must not be a look at either.
            if not has_own_root(pid):
                return f"/proc/0/root{path}"
            self._pids[host] = pid, begun_at(pid)
        return f"/proc/{pid}/root{path}"

    def forget(self, host: str) -> None:
        self._pids.pop(host, None)

    def alive(self, host: str) -> bool:
        return os.path.exists(self.place(host, "/sbin/init"))

    def holds(self, host: str, release: str) -> bool:
        places = (f"releases/{release}/VERSION", f".rollout/releases/{release}.json")
        return all(os.path.exists(self.place(host, f"/srv/shop/{place}")) for place in places)

    def live_on(self, host: str) -> str:
        return os.path.basename(os.readlink(self.place(host, "/srv/shop/current")))

    def lock_on(self, host: str) -> str:
        try:
            with open(self.place(host, "/srv/shop/.rollout/lock"), encoding="utf-8") as file:
                return file.read()
        except OSError:
            return ""

    def records_on(self, balancer: str) -> list[str]:
        try:
            names = os.listdir(self.place(balancer, "/var/lib/seamless-rollout/balancer"))
        except OSError:
            return []
        return [name for name in names if name.endswith(".json")]

    def served_by(self, host: str) -> str:
        """Return the version that *host* itself answers with, or "" when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{self.fleet.addresses[host]}:{self.fleet.port}/", timeout=2) as answer:
                return str(json.load(answer)["version"])
        except (OSError, ValueError, KeyError):
            return ""

    def admin(self, balancer: str) -> dict[str, int]:
        """Return the bits of each member's administrative state on *balancer*: 0 for ready."""
        lines = [line.split() for line in self.fleet.runtime(balancer, f"show servers state {self.fleet.backend}").splitlines()]
        return {fields[3]: int(fields[6]) for fields in lines if len(fields) > 6 and fields[0].isdigit()}

    def blamed(self, failed: t.Sequence[Sample]) -> dict[str, str]:
        """Return the host that had each of the *failed* requests, by its mark: the one that the balancer's log names, or who noted it.

        A kept connection is closed without a line in the log when that to the host breaks off.
        """
        line = re.compile(rf' {self.fleet.backend}/(\S+) .*"GET /\?(\S+) HTTP')
        since = int(min(sample.at for sample in failed)) - 1
        time.sleep(0.5)
        found: dict[str, str] = {}
        for name in self.fleet.lb:
            log = self.fleet.shell(name, f"journalctl -u haproxy -o cat --no-pager --since @{since}", check=False)
            found.update({match[2]: match[1] for match in line.finditer(log)})
        return {**self._noted([sample.mark for sample in failed if sample.mark not in found]), **found}

    def _noted(self, marks: t.Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for host in self.fleet.web if marks else []:
            with open(self.place(host, REQUESTS), encoding="utf-8", errors="replace") as file:
                seen = {line.strip().partition("?")[2] for line in file}
            # More than one where a balancer has tried again.
            found.update({mark: f"{found[mark]}, {host}" if mark in found else host for mark in marks if mark in seen})
        return found

    def set_member(self, host: str, state: str) -> None:
        for balancer in self.fleet.lb:
            self.fleet.runtime(balancer, f"set server {self.fleet.backend}/{host} state {state}")

    def link_problem(self, host: str, *, thorough: bool = False) -> str:
        """Say what is wrong with ``current`` on *host*, "" for nothing: it must be a link to a complete release at any moment."""
        # One root for both looks: a host that was down in the first one may be up again in the second.
        root = self.place(host, "")
        try:
            handle = os.open(f"{root}/srv/shop/current", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as exc:
            return f"current can't be opened: {exc.strerror}" if os.path.exists(f"{root}/sbin/init") else ""
        try:
            release = self._read(handle, "VERSION").decode().strip()
            if not thorough:
                return "" if os.path.isdir(os.path.join(self.builds, release)) else f"current holds {release!r}, which was never built"
            if self.live_on(host) != release:
                return f"current points to {self.live_on(host)} and holds {release}"
            names = sorted(os.listdir(self.place(host, f"/srv/shop/releases/{release}/data")))
            for name in ["server.py", *(f"data/{item}" for item in names)]:
                with open(os.path.join(self.builds, release, name), "rb") as file:
                    if file.read() != self._read(handle, name):
                        return f"{release}: {name} has other content"
            return "" if len(names) == FILES else f"{release} has {len(names)} of {FILES} files"
        except OSError as exc:
            return f"current is not complete: {exc.filename} {exc.strerror}" if os.path.exists(f"{root}/sbin/init") else ""
        finally:
            os.close(handle)

    @staticmethod
    def _read(directory: int, name: str) -> bytes:
        handle = os.open(name, os.O_RDONLY, dir_fd=directory)
        try:
            return os.read(handle, 1_000_000)
        finally:
            os.close(handle)

    def set_clock(self, host: str, offset: int) -> None:
        """Shift the wall clock of *host* by *offset* seconds, 0 for the true one again."""
        if offset:
            self.fleet.put(host, f"{CLOCK_FILE}.py", CLOCK.format(offset=offset))
            self.fleet.put(host, f"{CLOCK_FILE}.pth", "import clock_off\n")
        else:
            self.fleet.shell(host, f"rm -f {CLOCK_FILE}.pth {CLOCK_FILE}.py")

    def wait_up(self, timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while not self.all_up():
            if time.monotonic() > deadline:
                raise RuntimeError(f"not all members are up: {[self.fleet.standing(name) for name in self.fleet.lb]}")
            time.sleep(0.2)

    @contextlib.contextmanager
    def small_file_system(self, wanted: bool) -> t.Iterator[None]:
        """Have the application on a file system of its own that can be filled, on every host, for as long as it is *wanted*."""
        if wanted:
            for host in self.fleet.web:
                make = "mkdir -p /mnt/small && mount -t tmpfs -o size=16m tmpfs /mnt/small && cp -a /srv/shop/. /mnt/small"
                self.fleet.mount_shell(host, f"{make} && mount --bind /mnt/small /srv/shop")
        try:
            yield
        finally:
            if wanted:
                for host in self.fleet.web:
                    self.fleet.mount_shell(host, "umount -l /srv/shop && rm -rf /srv/shop && cp -a /mnt/small /srv/shop && umount -l /mnt/small")
                    self.set_member(host, "drain")
                    self.fleet.shell(host, "systemctl restart shop")
                    self.set_member(host, "ready")
                self.wait_up()

    def keep(self, name: str, *texts: str) -> None:
        """Keep the output of a case that went wrong, and what the balancers logged of it, for whoever looks into it."""
        logs = [self.fleet.shell(name, "journalctl -u haproxy -o short-precise --no-pager --since -3min", check=False) for name in self.fleet.lb]
        directory = os.path.join(REPO, "build", "faults")
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, f"{re.sub('[^A-Za-z0-9.]+', '-', name)}.log"), "w", encoding="utf-8") as file:
            file.write("\n===== again =====\n".join([*texts, *logs]))


class Sampler:
    """Looks at every balancer, link and lock some ten times a second, from threads."""

    def __init__(self, ground: Ground, balancers: t.Sequence[str], interval: float = 0.1) -> None:
        self.ground, self.balancers, self.interval = ground, balancers, interval
        self.up: dict[str, list[tuple[float, frozenset[str]]]] = {name: [] for name in balancers}
        self.links: dict[str, str] = {}
        self.seen: set[str] = set()
        self._stop = threading.Event()

    def __enter__(self) -> Sampler:
        self._threads = [threading.Thread(target=self._watch, args=(name,), daemon=True) for name in self.balancers]
        self._threads.append(threading.Thread(target=self._look, daemon=True))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *dummy: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _watch(self, balancer: str) -> None:
        while not self._stop.wait(self.interval):
            try:
                standing = self.ground.fleet.standing(balancer)
            except OSError:
                continue
            if len(standing) == WEB:
                self.up[balancer].append((time.time(), frozenset(host for host, status in standing.items() if status.startswith(("UP", "no check")))))

    def _look(self) -> None:
        while not self._stop.wait(self.interval):
            for host in self.ground.fleet.web:
                problem = self.ground.link_problem(host)
                if problem:
                    self.links.setdefault(host, problem)
                elif self.ground.alive(host):
                    self.seen.add(self.ground.live_on(host))

    def fewest_up(self, balancer: str, since: float, until: float) -> int | None:
        """Return the smallest number of members that *balancer* had in rotation between the two, None when it was never seen then."""
        return min((len(hosts) for at, hosts in self.up[balancer] if since <= at < until), default=None)

    def was_up(self, host: str, since: float, until: float) -> bool:
        """Whether some balancer had *host* in rotation between the two."""
        return any(host in hosts for seen in self.up.values() for at, hosts in seen if since <= at < until)
