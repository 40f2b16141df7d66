# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What an audit says of the hosts: what they run from, what they keep, and what they have left. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release.shared import reserve
from ansible_collections.seamless.rollout.plugins.plugin_utils._audit import APPLICATION, LINE, MACHINE, VARIABLE, Answer, Looking, Site

SKEW = 2.0  # seconds that clocks may differ


def current(site: Site) -> Looking:
    """Units and web servers use the link ``current``, never a release's own directory."""
    look = Looking("current")
    look.unanswered(site)
    link = f"{site.root}/current"
    for host, answer in site.answers.items():
        survey = answer["survey"]
        kind = survey["current"]["kind"]
        if kind in ("directory", "foreign", "dangling"):
            how = {
                "directory": "is a real directory, not a link", "foreign": f"points to {survey['current']['path']}, outside {site.root}/releases",
                "dangling": f"points to {survey['current']['path']}, which is not there",
            }[kind]
            setting = {"directory": "rollout_adopt: true", "foreign": "rollout_root: the directory that holds releases/ and current"}.get(kind)
            look.bad(host, f"{link} {how}", setting or f"roll a release out: it repairs {link}", VARIABLE)
        wrong, right = _references(answer)
        for path, place in sorted(wrong.items()):
            look.bad(host, f"{place} names {path}", f"{place.split(':')[0]}: {link}{_below(path, site.root)}", LINE)
        stale = [service for service in survey["services"] if service["stale"]]
        for service in stale:
            look.bad(
                host, f"{service['name']} works in {', '.join(service['releases'])}, and current is {survey['current']['release']}",
                f"start {service['name']} from {link}, and restart it", LINE,
            )
        shown = [service["name"] for service in survey["services"] if service["release"] and not service["stale"]]
        if wrong or stale:
            continue
        if right or shown:
            look.good(host, "; ".join([*sorted(right), *(f"{name} works in the live release" for name in shown if not right)]))
        elif not answer["units"]:
            look.unknown(host, "rollout_services is empty, and no web server's configuration names " + link)
        else:
            started = "; ".join(f"{unit['unit']}: {' '.join(unit['starts'].values()) or 'no directory'}" for unit in answer["units"])
            look.bad(host, f"nothing names {link} ({started})", f"WorkingDirectory={link} in {answer['units'][0]['unit']}", LINE)
    return look


def _references(answer: Answer) -> tuple[dict[str, str], set[str]]:
    """Return the paths of releases that something names, each with where, and what names ``current``."""
    wrong: dict[str, str] = {}
    right: set[str] = set()
    for unit in answer["units"]:
        for item in unit["references"]:
            if item["kind"] == "release":
                wrong.setdefault(item["path"], f"{unit['unit']}: {item['setting']}")
            elif item["kind"] == "current":
                right.add(f"{unit['unit']} has {item['path']}")
    for item in answer["mentions"]:
        if item["kind"] == "release":
            wrong.setdefault(item["path"], f"{item['file']}:{item['line']}")
        elif item["kind"] == "current" and item["web"]:
            right.add(f"{item['file']} has {item['path']}")
    return wrong, right


def _below(path: str, root: str) -> str:
    """Return what comes below the release in *path*."""
    rest = path[len(root.rstrip("/")) + len("/releases/"):].partition("/")[2]
    return f"/{rest}" if rest else ""


def release_tree(site: Site) -> Looking:
    """Nothing is written into a release once it is live: it would be gone with the next one."""
    look = Looking("release-tree")
    look.unanswered(site)
    for host, answer in site.answers.items():
        tree = answer["tree"]
        place = f"{site.root}/releases/{tree['release']}"
        for path in tree["open"]:
            look.bad(host, f"a service has {path} in {place} open for writing", _linked(path), VARIABLE)
        if tree["count"]:
            shown = ", ".join(f"{item['path']} ({item['kind']})" for item in tree["written"][:4])
            more = f" and {tree['count'] - 4} more" if tree["count"] > 4 else ""
            shared = any(item["links"] > 1 for item in tree["written"])
            hint = "; a changed file is shared with other releases by a hard link, so that they changed too" if shared else ""
            for item in tree["written"]:
                look.bad(host, f"in {place}, written since it went live: {shown}{more}{hint}", _linked(item["path"]), VARIABLE)
        elif not tree["judged"]:
            look.unknown(host, "no release is live yet" if tree["release"] is None else "nobody knows since when it is live: its release is not marked good")
        elif not tree["open"]:
            code = f", but for {tree['bytecode']} files of byte code, which do no harm" if tree["bytecode"] else ""
            cut = " (the first 200000)" if tree["truncated"] else ""
            look.good(host, f"none of {tree['entries']} files{cut} in {place} is newer than its switch{code}")
    return look


def _linked(path: str) -> str:
    top, slash, dummy = path.partition("/")
    if slash:
        return f"rollout_linked_dirs: [{top}], which keeps it in shared/{top} for all releases; or write it elsewhere"
    return f"let the application write {path} outside the release, or into a directory of rollout_linked_dirs"


def local_state(site: Site) -> Looking:
    """Sessions and uploads are where every host finds them."""
    look = Looking("local-state")
    look.unanswered(site)
    if len(site.hosts) < 2:
        look.good("", "there is one host")
        return look
    by_path: dict[str, dict[str, Answer]] = {}
    for host, answer in site.answers.items():
        for item in answer["directories"]:
            by_path.setdefault(item["path"], {})[host] = item
        for base in answer["databases"]:
            look.bad(
                host, f"{base['unit']} writes a database of its own, {base['path']} ({base['filesystem']})",
                f"a database server that all hosts use instead of {base['path']}", MACHINE,
            )
    for path, found in by_path.items():
        _directory(look, path, found, len(site.answers))
    quiet = [host for host, answer in site.answers.items() if not answer["directories"] and not answer["databases"]]
    for host in quiet:
        look.good(host, "no session file, no database and no directory of data of its own was found")
    return look


def _directory(look: Looking, path: str, found: t.Mapping[str, Answer], all_hosts: int) -> None:
    """Judge one directory of data: shared by all, the same everywhere, or each host's own."""
    hosts = list(found)
    first = next(iter(found.values()))
    local = [host for host, item in found.items() if not item["shared"]]
    hidden = [host for host, item in found.items() if not item["readable"]]
    sessions = sum(item["sessions"] for item in found.values())
    counts = ", ".join(f"{item['files']} on {host}" for host, item in found.items())
    kind = ", ".join(sorted({item["filesystem"] or "an unknown file system" for item in found.values()}))
    where = ", ".join(hosts)
    if hidden:
        look.unknown(", ".join(hidden), f"{path} can't be read ({first['how']}): run the audit as root")
    elif not local:
        look.good(where, f"{path} is on {kind}, which all hosts share")
    elif first["php_sessions"]:
        if sessions:
            look.bad(
                where, f"PHP keeps sessions in files on the host's own disk: {sessions} in {path} ({kind})",
                "session.save_handler = redis and session.save_path = \"tcp://HOST:6379\" in php.ini or the pool (or memcached, or a database)", LINE,
            )
        else:
            look.good(where, f"PHP has no session in {path}")
    elif (len({item["digest"] for item in found.values()}) > 1 or len(found) < all_hosts) and any(item["files"] for item in found.values()):
        names = {host: set(item["newest"]) for host, item in found.items()}
        alone = ((host, name) for host in hosts for name in found[host]["newest"] if all(name not in names[other] for other in hosts if other != host))
        only = next(alone, None)
        example = f"; {only[1]} is on {only[0]} alone" if only else ""
        what = "sessions" if sessions else "files"
        setting = (
            f"keep sessions in a store that all hosts use (Redis, memcached, the database) instead of {path}" if sessions
            else f"one file system for all hosts at {path} (NFS, CephFS), or an object store instead of it"
        )
        look.bad(where, f"{path} ({first['how']}) holds {what} on each host's own disk ({kind}), which differ: {counts}{example}", setting, MACHINE)
    elif not any(item["files"] for item in found.values()):
        look.good(where, f"{path} is empty")
    else:
        look.good(where, f"{path} holds the same {first['files']} files everywhere")


def php_caches(site: Site) -> Looking:
    """Neither opcache nor realpath cache go on serving the release of before."""
    look = Looking("php-caches")
    look.unanswered(site)
    for host, answer in site.answers.items():
        reread = {unit["unit"] for unit in answer["units"] if unit["action"] in ("restart", "reload")}
        if not answer["php"]:
            look.good(host, "no PHP serves here")
        for interpreter in answer["php"]:
            unit = str(interpreter["unit"])
            if unit in reread:
                look.good(host, f"{unit} is restarted or reloaded with each release, which empties its caches")
                continue
            name = unit.rpartition(".")[0]
            service = f"rollout_services: {{name: {name}, action: {'reload' if interpreter['kind'] == 'fpm' else 'restart'}}}"
            sockets = {item["pass"].replace("unix:", "") for item in answer["scripts"]}
            pools = [pool for pool in interpreter["pools"] if pool["listen"] in sockets] or interpreter["pools"]
            for pool in pools:
                _pool(look, host, answer["scripts"], interpreter, pool, service)
    return look


def _pool(look: Looking, host: str, scripts: t.Sequence[Answer], interpreter: Answer, pool: Answer, service: str) -> None:
    settings = pool["settings"]
    off = ("0", "off", "no", "")
    ever = settings["opcache.enable"].lower() not in off and settings["opcache.validate_timestamps"].lower() in off
    cached = "opcache.validate_timestamps=0, so for ever" if ever else f"realpath_cache_ttl={settings['realpath_cache_ttl']} s"
    mine = [item for item in scripts if item["pass"].replace("unix:", "") == pool["listen"]] or list(scripts)
    if interpreter["kind"] == "apache":
        look.bad(host, f"Apache's PHP caches paths through current ({cached}), and {interpreter['unit']} is not in rollout_services", service, VARIABLE)
    elif not mine:
        look.unknown(host, f"pool {pool['name']}: no configuration says by which path it gets the application's scripts")
    for item in mine if interpreter["kind"] == "fpm" else []:
        if "$realpath_root" in item["script"]:
            look.good(host, f"{item['place']} gives php-fpm the real path, $realpath_root")
        else:
            look.bad(
                host, f"{item['place']} gives php-fpm {item['script'] or 'no SCRIPT_FILENAME'}, a path through current, which its caches keep ({cached}), and "
                f"{interpreter['unit']} is not in rollout_services",
                "fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name; fastcgi_param DOCUMENT_ROOT $realpath_root;\n" + f"or {service}", LINE,
            )


def expanded_schema(site: Site) -> Looking:
    """The code that runs now works with the database as the next release's migrations expand it."""
    look = Looking("expanded-schema")
    if site.schema is None:
        look.unknown("", site.schema_why or "rollout_migrations is not set: rollouts don't change a database")
    elif site.schema["problems"]:
        for problem in site.schema["problems"]:
            setting = "change that migration as the message says, or allow its rule in rollout_migrations.allow where it is meant"
            look.bad("", str(problem), setting, APPLICATION)
    else:
        names = [str(note) for note in site.schema["notes"]]
        look.good("", "; ".join(names) or f"release {site.schema['release']} has no migration")
    return look


def disk(site: Site) -> Looking:
    """Every host has room for the releases that are kept."""
    look = Looking("disk")
    look.unanswered(site)
    for host, answer in site.answers.items():
        space, tree = answer["survey"]["disk"], answer["tree"]
        have = len(answer["survey"]["releases"])
        missing = max(1, site.keep_releases + 1 - have)
        need, files = tree["bytes"] * missing, tree["entries"] * missing
        try:
            keep = reserve(site.min_free, space["total_bytes"])
        except SeamlessError as exc:
            look.bad("", str(exc), 'rollout_min_free: "5%"', VARIABLE)
            return look
        free = space["free_bytes"] - keep
        if free < need:
            fits = max(0, int(free // tree["bytes"])) + have - 1 if tree["bytes"] and free > 0 else 0
            setting = f"rollout_keep_releases: {fits}" if fits >= 2 else f"free {_size(need - free)} on {site.root}"
            look.bad(
                host, f"{missing} more releases of {_size(tree['bytes'])} need {_size(need)}, and {_size(max(0, free))} are free above rollout_min_free",
                setting, VARIABLE if fits >= 2 else MACHINE,
            )
        elif space["total_inodes"] and space["free_inodes"] < files:
            look.bad(host, f"{missing} more releases need {files} inodes, and {space['free_inodes']} are free", f"free inodes on {site.root}", MACHINE)
        elif tree["release"] is None:
            look.good(host, f"{_size(free)} are free; how large a release is shows when the first one is there")
        else:
            look.good(host, f"{_size(free)} are free, {missing} more releases need {_size(need)} at most")
    return look


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def clock(site: Site) -> Looking:
    """Clocks agree, so that sessions, tokens and caches end at the same time everywhere."""
    look = Looking("clock")
    look.unanswered(site)
    for host, answer in site.answers.items():
        # The host looked at its clock between these two moments of the controller.
        before, after = answer["asked"]
        ahead, behind = answer["clock"] - after, before - answer["clock"]
        keeping = answer["time"]
        if max(ahead, behind) > SKEW:
            off = f"{ahead:.1f} s ahead of" if ahead > behind else f"{behind:.1f} s behind"
            look.bad(host, f"its clock is at least {off} the controller's", "systemctl enable --now systemd-timesyncd (or chrony)", LINE)
        elif keeping["synchronised"] is False and not keeping["container"]:
            who = f"{keeping['daemon']} runs" if keeping["daemon"] else "no time daemon runs"
            seen = f"its clock is right, but nobody keeps it so ({who}, and the kernel says: not synchronised)"
            look.bad(host, seen, "systemctl enable --now systemd-timesyncd", LINE)
        else:
            kept = "a container's, kept by its machine" if keeping["container"] else "kept by " + (keeping["daemon"] or "its machine")
            look.good(host, f"within {SKEW:g} s of the controller's, {kept}")
    return look
