# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The settings of PHP that a process really has: php.ini, the files beside it, and those of its pool. Read, never run."""

from __future__ import annotations

import glob
import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._audit import kernel
from ansible_collections.seamless.rollout.plugins.module_utils._release.processes import pids

# What PHP has where nobody sets it.
DEFAULTS = {
    "session.save_handler": "files", "session.save_path": "", "session.auto_start": "0", "opcache.enable": "1", "opcache.validate_timestamps": "1",
    "opcache.revalidate_freq": "2", "opcache.revalidate_path": "0", "opcache.preload": "", "opcache.file_cache": "", "realpath_cache_ttl": "120",
}
_LINE = re.compile(r"\s*([A-Za-z0-9_.\-\[\]]+)\s*=\s*(.*?)\s*\Z")
_VALUE = re.compile(r"php_(?:admin_)?(?:value|flag)\[([^\]]+)\]\Z")


def read_ini(text: str) -> list[tuple[str, str, str]]:
    """Return (section, key, value) of every line of *text*, remarks and quotes taken away."""
    section, found = "", []
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("[") and "]" in line:
            section = line[1:line.index("]")]
            continue
        match = _LINE.match(line)
        if not match or line.startswith((";", "#")):
            continue
        value = match[2]
        quoted = re.match(r"([\"'])(.*?)\1", value)
        found.append((section, match[1], quoted[2] if quoted else value.split(";", 1)[0].strip()))
    return found


def _ini_files(main: t.Sequence[str], scanned: t.Sequence[str]) -> list[str]:
    first = next((path for path in main if os.path.isfile(path)), None)
    return ([first] if first else []) + [path for directory in scanned for path in sorted(glob.glob(os.path.join(directory, "*.ini")))]


def settings_of(texts: t.Sequence[str]) -> dict[str, str]:
    """Return the settings in *texts*, the later ones above the earlier ones, over PHP's own. Without the extension there is no opcache."""
    found = dict(DEFAULTS)
    loaded = False
    for text in texts:
        for dummy, key, value in read_ini(text):
            loaded = loaded or (key == "zend_extension" and "opcache" in value)
            if key in found:
                found[key] = value
    if not loaded:
        found["opcache.enable"] = "0"
    return found


def _pools(conf: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return the global settings of php-fpm and those of each of its pools, includes followed."""
    whole: dict[str, str] = {}
    pools: dict[str, dict[str, str]] = {}

    def read(path: str, depth: int) -> None:
        for section, key, value in read_ini(kernel.read_text(path)):
            if key == "include" and depth < 4:
                for place in sorted(glob.glob(value if os.path.isabs(value) else os.path.join(os.path.dirname(path), value))):
                    read(place, depth + 1)
            elif section in ("", "global"):
                whole[key] = value
            else:
                pools.setdefault(section, {})[key] = value

    read(conf, 0)
    return whole, pools


def _timeout(value: str) -> float:
    match = re.match(r"(\d+)\s*([smhd]?)", value)
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else 0.0


def look() -> list[dict[str, t.Any]]:
    """Return every PHP that serves requests on this host: php-fpm by its pools, and Apache with PHP in it."""
    found = []
    seen: set[str] = set()
    for pid in pids():
        title = kernel.title(pid)
        master = re.match(r"php-fpm: master process \((.+?)\)", title)
        if master and master[1] not in seen:
            seen.add(master[1])
            found.append(_fpm(pid, master[1]))
        elif kernel.comm(pid) in ("apache2", "httpd") and "apache" not in seen and re.search(r"/libphp\S*\.so", kernel.read_text(f"/proc/{pid}/maps", 1 << 22)):
            seen.add("apache")
            ini = _ini_files([*sorted(glob.glob("/etc/php/*/apache2/php.ini")), "/etc/php.ini"], [*glob.glob("/etc/php/*/apache2/conf.d"), "/etc/php.d"])
            found.append(_described("apache", pid, ini, {"apache": {}}, {}))
    return found


def _fpm(pid: int, conf: str) -> dict[str, t.Any]:
    base = os.path.dirname(conf)
    ini = _ini_files(
        [os.path.join(base, "php.ini"), "/usr/local/etc/php/php.ini", "/etc/php.ini"],
        [os.path.join(base, "conf.d"), "/usr/local/etc/php/conf.d", *(["/etc/php.d"] if base == "/etc" else [])],
    )
    whole, pools = _pools(conf)
    return _described("fpm", pid, ini, pools, {"config": conf, "process_control_timeout": _timeout(whole.get("process_control_timeout", "0"))})


def _described(kind: str, pid: int, ini: t.Sequence[str], pools: t.Mapping[str, t.Mapping[str, str]], more: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    base = settings_of([kernel.read_text(path) for path in ini])
    listed = []
    for name, own in pools.items():
        over = {match[1]: value for match, value in ((_VALUE.match(key), value) for key, value in own.items()) if match and match[1] in base}
        listed.append({"name": name, "listen": own.get("listen", "").replace("$pool", name), "settings": {**base, **over}})
    return {"kind": kind, "unit": kernel.unit_of(pid), "ini": list(ini)[:1], "pools": listed, "process_control_timeout": 0.0, **more}
