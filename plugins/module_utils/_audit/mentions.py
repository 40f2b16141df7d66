# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Files of configuration that name a directory of the application, and the path by which they name it."""

from __future__ import annotations

import glob
import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._audit import kernel, units

PATTERNS = (
    "/etc/nginx/nginx.conf", "/etc/nginx/conf.d/*.conf", "/etc/nginx/sites-enabled/*", "/etc/apache2/apache2.conf", "/etc/apache2/sites-enabled/*",
    "/etc/apache2/conf-enabled/*", "/etc/httpd/conf/httpd.conf", "/etc/httpd/conf.d/*.conf", "/etc/caddy/Caddyfile", "/etc/caddy/*.caddy",
    "/etc/php/*/fpm/pool.d/*.conf", "/etc/php-fpm.d/*.conf", "/usr/local/etc/php-fpm.d/*.conf", "/etc/systemd/system/*.service",
    "/etc/systemd/system/*.timer", "/etc/systemd/system/*.d/*.conf", "/etc/supervisor/conf.d/*.conf", "/etc/supervisord.d/*.ini", "/etc/crontab",
    "/etc/cron.d/*", "/var/spool/cron/crontabs/*", "/var/spool/cron/*", "/etc/logrotate.d/*", "/etc/uwsgi/apps-enabled/*", "/etc/default/*",
)
_WEB = ("/etc/nginx/", "/etc/apache2/", "/etc/httpd/", "/etc/caddy/")
MOST = 200


def look(root: str, more: t.Collection[str] = ()) -> list[dict[str, t.Any]]:
    """Return every line outside remarks that names ``current``, ``preview`` or a release of *root*. *more* are other files to read."""
    found: list[dict[str, t.Any]] = []
    seen: set[str] = set()
    for path in [*(path for pattern in PATTERNS for path in sorted(glob.glob(pattern))), *sorted(more)]:
        real = os.path.realpath(path)
        if real in seen or not os.path.isfile(real):
            continue
        seen.add(real)
        for number, line in enumerate(kernel.read_text(path).splitlines(), 1):
            text = re.split(r"(?:\A|\s)[#;]", line, maxsplit=1)[0]
            for mention in units.references({"line": text}, root):
                found.append({"file": path, "line": number, "kind": mention["kind"], "path": mention["path"], "web": path.startswith(_WEB) or path in more})
    return found[:MOST]
