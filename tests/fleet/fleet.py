# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of containers that behave like servers: systemd, SSH, their own addresses. Removed when done, whatever happens.

    with Fleet(web=6, lb=2) as fleet:
        fleet.play("seamless.rollout.rollout", {"rollout_release": "1.2.0"})

From a shell: ``python fleet.py up --prefix demo --web 3 --lb 1``, ``python fleet.py down --prefix demo``.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import fcntl
import ipaddress
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENGINE = os.environ.get("CONTAINER_ENGINE", "podman")
PREFIX = "seamless-"
POOLS = ("198.51.100.0/24", "203.0.113.0/24")

# What lets systemd be PID 1. Podman knows by itself what it needs.
SYSTEMD = {
    "podman": ["--runtime", "runc", "--systemd", "always", "--stop-signal", "9"],
    "docker": [
        "--env", "container=docker", "--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--security-opt", "seccomp=unconfined",
        *(option for place in ("/run", "/run/lock", "/tmp") for option in ("--tmpfs", place)),
    ],
}

# Where HAProxy reads its servers' states from when it starts, as a production site has it; nobody writes it but who says persist_state.
STATE_FILE = "/var/lib/haproxy/server-state"

# Packets vanish, nobody is told: a ruleset for "nft -f".
CUT = "table inet cut {{ {}; }}\n".format("; ".join(f"chain {name} {{ type filter hook {name} priority 0; policy drop; }}" for name in ("input", "output")))

HAPROXY = """\
global
    stats socket /run/haproxy/admin.sock mode 600 level admin
    stats socket ipv4@0.0.0.0:9999 level admin
    hard-stop-after 10s
    maxconn 4000
    server-state-file {state}
    log stdout format raw local0
defaults
    load-server-state-from-file global
    mode http
    log global
    option httplog
    option dontlog-normal
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout check 1s
    timeout http-keep-alive 30s
    option idle-close-on-response
    default-server check inter 500ms fall 2 rise 2
frontend {backend}
    bind :80
    default_backend {backend}
backend {backend}
    balance roundrobin
    option httpchk GET {check}
{servers}
"""


def run(*command: str, check: bool = True, data: bytes | None = None, timeout: float = 120) -> str:
    """Run a command and return its output; raise with the output where it fails."""
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False)
    text = done.stdout.decode(errors="replace")
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {text}")
    return text


class Played(t.NamedTuple):
    """What an ansible-playbook run left: exit code, output, seconds."""

    code: int
    text: str
    seconds: float


class Fleet:
    """*web* application hosts, *lb* HAProxy hosts and *db* database hosts on a network of their own. The prefix is unique to this fleet.

    Application hosts are made by the *recipe* of ``image.sh``; where there are database hosts, by that of a database. Balancers are made by *lb_recipe*.
    """

    def __init__(
        self, web: int = 6, lb: int = 2, db: int = 0, *, prefix: str | None = None, backend: str = "shop", port: int = 8000, check: str = "/health",
        recipe: str = "", lb_recipe: str = "",
    ) -> None:
        self.prefix = f"{PREFIX}{prefix or secrets.token_hex(3)}"
        self.web = [f"web{number}" for number in range(1, web + 1)]
        self.lb = [f"lb{number}" for number in range(1, lb + 1)]
        self.db = [f"db{number}" for number in range(1, db + 1)]
        self.backend, self.port, self.check, self.recipe, self.lb_recipe = backend, port, check, recipe, lb_recipe
        self.directory = os.path.join(tempfile.gettempdir(), self.prefix)
        self.addresses: dict[str, str] = {}
        self.images: dict[str, str] = {}

    @property
    def hosts(self) -> list[str]:
        return [*self.web, *self.lb, *self.db]

    def name(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    @property
    def inventory(self) -> str:
        return os.path.join(self.directory, "inventory.yml")

    @property
    def environment(self) -> dict[str, str]:
        tree = os.path.join(REPO, "build", "tree")
        return {
            **os.environ,
            "ANSIBLE_CONFIG": os.path.join(self.directory, "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join([tree, os.path.join(REPO, "build", "deps")]),
            "XDG_STATE_HOME": os.path.join(self.directory, "state"),
            "ANSIBLE_NOCOLOR": "1",
        }

    def __enter__(self) -> t.Self:
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError):
                signal.signal(number, lambda *dummy: sys.exit(1))
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *dummy: object) -> None:
        self.down()

    def up(self) -> None:
        # An application with a database needs its drivers.
        special = "database" if self.db else self.recipe
        plain = [self.lb_recipe] if self.lb_recipe else []
        for hosts, recipe in ((self.lb if special else [*self.web, *self.lb], plain), ([*self.web, *self.db] if special else [], [special])):
            if hosts:
                image = run(os.path.join(REPO, "tests", "tools", "image.sh"), *recipe, timeout=600).strip().splitlines()[-1]
                self.images.update(dict.fromkeys(hosts, image))
        os.makedirs(self.directory, mode=0o700)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(self.directory, "key"))
        self._network()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(self._start, self.hosts))
            list(pool.map(self.wait_ready, self.hosts))
            list(pool.map(self._configure_haproxy, self.lb))
        self._write_inventory()

    def attach(self) -> None:
        """Know the addresses of a fleet that another process started."""
        with open(self.inventory, encoding="utf-8") as file:
            groups = json.load(file)["all"]["children"].values()
        self.addresses = {host: own["ansible_host"] for group in groups for host, own in group["hosts"].items()}

    def _network(self) -> None:
        """Take a free /26 of the documentation networks; a file lock keeps two fleets from taking the same."""
        with open(os.path.join(tempfile.gettempdir(), "seamless-networks.lock"), "w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            names = run(ENGINE, "network", "ls", "--format", "{{.Name}}").split()
            taken = " ".join(run(ENGINE, "network", "inspect", name, check=False) for name in names)
            for pool in POOLS:
                for subnet in ipaddress.ip_network(pool).subnets(new_prefix=26):
                    if str(subnet) not in taken:
                        run(ENGINE, "network", "create", "--subnet", str(subnet), self.prefix)
                        addresses = [str(address) for address in subnet.hosts()][9:]
                        self.addresses = dict(zip(self.hosts, addresses))
                        return
        raise RuntimeError("no free test network: remove old fleets with 'make clean'")

    def _start(self, host: str) -> None:
        run(
            ENGINE, "run", "--detach", "--name", self.name(host), "--hostname", host, "--network", self.prefix, "--ip", self.addresses[host],
            "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "--cap-add", "SYS_PTRACE", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=10000:10000",
            *SYSTEMD[ENGINE],
            self.images[host], "/sbin/init",
        )
        with open(os.path.join(self.directory, "key.pub"), "rb") as file:
            self.shell(host, "cat > /root/.ssh/authorized_keys", data=file.read())

    def wait_ready(self, host: str, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while self.shell(host, "systemctl is-active ssh", check=False).strip() != "active":
            if time.monotonic() > deadline:
                raise RuntimeError(f"{host} did not boot: {self.shell(host, 'systemctl --failed; systemctl list-jobs', check=False)}")
            time.sleep(0.3)

    def _configure_haproxy(self, host: str) -> None:
        servers = "\n".join(f"    server {web} {self.addresses[web]}:{self.port}" for web in self.web)
        self.put(host, "/etc/haproxy/haproxy.cfg", HAPROXY.format(backend=self.backend, check=self.check, servers=servers, state=STATE_FILE))
        drop_in = "[Service]\nBindReadOnlyPaths=\nRuntimeDirectory=haproxy\nRuntimeDirectoryPreserve=yes\n"
        self.put(host, "/etc/systemd/system/haproxy.service.d/container.conf", drop_in)
        self.shell(host, "systemctl daemon-reload && systemctl enable --now haproxy")

    def _write_inventory(self) -> None:
        control = os.path.join(self.directory, "cp")
        variables = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": os.path.join(self.directory, "key"),
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
            "-o ServerAliveInterval=2 -o ServerAliveCountMax=2 -o ConnectTimeout=4",
            "ansible_ssh_control_path_dir": control,
        }
        groups = {
            group: {"hosts": {host: {"ansible_host": self.addresses[host]} for host in hosts}}
            for group, hosts in (("app", self.web), ("lb", self.lb), ("db", self.db)) if hosts or group != "db"
        }
        with open(self.inventory, "w", encoding="utf-8") as file:
            json.dump({"all": {"children": groups, "vars": variables}}, file, indent=2)
        with open(os.path.join(self.directory, "ansible.cfg"), "w", encoding="utf-8") as file:
            file.write("[defaults]\nforks = 10\nretry_files_enabled = false\ncallback_result_format = yaml\nlocalhost_warning = false\n")
            file.write("[ssh_connection]\npipelining = true\n")

    def shell(self, host: str, command: str, *, check: bool = True, data: bytes | None = None, timeout: float = 120) -> str:
        return run(ENGINE, "exec", "-i", self.name(host), "sh", "-c", command, check=check, data=data or b"", timeout=timeout)

    def put(self, host: str, path: str, content: str | bytes, mode: str = "644") -> None:
        data = content.encode() if isinstance(content, str) else content
        self.shell(host, f"mkdir -p '{os.path.dirname(path)}' && cat > '{path}' && chmod {mode} '{path}'", data=data)

    def mount_shell(self, host: str, command: str) -> str:
        """Run a command on *host* that may mount, which a container itself may not."""
        pid = run(ENGINE, "inspect", "--format", "{{.State.Pid}}", self.name(host)).strip()
        return run("nsenter", "--target", pid, "--mount", "--pid", "sh", "-c", command)

    def kill(self, host: str) -> None:
        """Cut the power of *host*."""
        run(ENGINE, "kill", "--signal", "KILL", self.name(host))

    def start(self, host: str) -> None:
        run(ENGINE, "start", self.name(host))
        self.wait_ready(host)
        # It comes back with another hardware address, which its neighbours would learn only in a while.
        forget = f"ip neigh flush to {self.addresses[host]}"
        run("sh", "-c", forget, check=False)
        for other in self.hosts:
            if other != host:
                self.shell(other, forget, check=False)

    def disconnect(self, host: str) -> None:
        """Cut the network of *host*: packets vanish, nobody is told."""
        self.shell(host, "nft -f -", data=CUT.encode())

    def connect(self, host: str) -> None:
        self.shell(host, "nft delete table inet cut")

    def command(self, playbook: str, variables: t.Mapping[str, t.Any] | None = None, ansible: str = "ansible-playbook") -> list[str]:
        return [ansible, "-i", self.inventory, playbook, "-e", json.dumps(dict(variables or {}))]

    def begin(self, playbook: str, variables: t.Mapping[str, t.Any], log: str, environment: t.Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a playbook in a process group of its own, with its output in the file *log*."""
        with open(log, "wb") as output:
            return subprocess.Popen(
                self.command(playbook, variables), env={**self.environment, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )

    def play(
        self, playbook: str, variables: t.Mapping[str, t.Any] | None = None, *options: str, timeout: float = 600, cwd: str | None = None,
        ansible: str = "ansible-playbook",
    ) -> Played:
        """Run a playbook against this fleet."""
        begun = time.monotonic()
        done = subprocess.run(
            [*self.command(playbook, variables, ansible), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
            env=self.environment, cwd=cwd, stdin=subprocess.DEVNULL, check=False,
        )
        return Played(done.returncode, done.stdout.decode(errors="replace"), time.monotonic() - begun)

    def runtime(self, host: str, command: str) -> str:
        """Ask HAProxy on *host* over its TCP socket."""
        import socket

        with socket.create_connection((self.addresses[host], 9999), timeout=5) as connection:
            connection.sendall(command.encode() + b"\n")
            chunks: list[bytes] = []
            while True:
                chunk = connection.recv(65536)
                if not chunk:
                    return b"".join(chunks).decode()
                chunks.append(chunk)

    def standing(self, host: str) -> dict[str, str]:
        """Return the status of every server as the HAProxy on *host* sees it."""
        rows = [line.split(",") for line in self.runtime(host, "show stat").splitlines() if line.startswith(f"{self.backend},")]
        return {row[1]: row[17] for row in rows if row[1] not in ("FRONTEND", "BACKEND")}

    def close_connections(self) -> None:
        """Close the connections that Ansible keeps open between commands."""
        if os.path.isdir(os.path.join(self.directory, "cp")):
            for socket_name in os.listdir(os.path.join(self.directory, "cp")):
                run("ssh", "-o", f"ControlPath={os.path.join(self.directory, 'cp', socket_name)}", "-O", "exit", "none", check=False)

    def down(self) -> None:
        remove(self.prefix)
        self.close_connections()
        shutil.rmtree(self.directory, ignore_errors=True)


def remove(prefix: str) -> None:
    """Remove every container and network whose name is *prefix* or starts with it and a dash."""
    pattern = re.compile(re.escape(prefix) + r"(-.*)?\Z")
    names = [name for name in run(ENGINE, "ps", "--all", "--format", "{{.Names}}").split() if pattern.match(name)]
    if names:
        run(ENGINE, "rm", "--force", *(["--time", "0"] if ENGINE == "podman" else []), *names, check=False)
    for name in run(ENGINE, "network", "ls", "--format", "{{.Name}}").split():
        if pattern.match(name):
            run(ENGINE, "network", "rm", *(["--force"] if ENGINE == "podman" else []), name, check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["up", "down", "clean"])
    parser.add_argument("--prefix", default="fleet")
    parser.add_argument("--web", type=int, default=3)
    parser.add_argument("--lb", type=int, default=1)
    parser.add_argument("--db", type=int, default=0)
    parser.add_argument("--recipe", default="", help="argument of image.sh, for application hosts and balancers")
    arguments = parser.parse_args()
    if arguments.verb == "clean":
        names = run(ENGINE, "ps", "--all", "--format", "{{.Names}}").split() + run(ENGINE, "network", "ls", "--format", "{{.Name}}").split()
        for prefix in sorted({"-".join(name.split("-")[:2]) for name in names if name.startswith(PREFIX)}):
            remove(prefix)
        return
    fleet = Fleet(arguments.web, arguments.lb, arguments.db, prefix=arguments.prefix, recipe=arguments.recipe, lb_recipe=arguments.recipe)
    if arguments.verb == "down":
        fleet.down()
        return
    fleet.up()
    print(f"inventory: {fleet.inventory}")
    print(f"ANSIBLE_CONFIG={fleet.environment['ANSIBLE_CONFIG']} ANSIBLE_COLLECTIONS_PATH={fleet.environment['ANSIBLE_COLLECTIONS_PATH']}")


if __name__ == "__main__":
    main()
