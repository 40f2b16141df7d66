#!/usr/bin/python

# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: access_log_info
short_description: Count requests and failures in an access log
version_added: 0.1.0
description:
  - Counts the requests in the access log of a web server or a balancer, those that failed and those that were slow.
  - A request failed when its status is 500 or above, or is no number, as where no answer came.
  - Only whole lines are read, from a place in the log to its end, and the next place is returned. A log that was rotated meanwhile is read to its end
    first, where it has a name that begins with its former one and is not compressed yet.
author:
  - Seamless Rollout Contributors (@seamless-rollout)
extends_documentation_fragment:
  - seamless.rollout.attributes
  - seamless.rollout.attributes.actiongroup_rollout
  - seamless.rollout.attributes.info_module
attributes:
  platform:
    platforms: posix
options:
  path:
    description:
      - The log.
    type: path
    required: true
  pattern:
    description:
      - A regular expression (Python) that is searched in each line. Its group C(status) is the status; a group C(upstream) tells who answered.
      - One of the groups C(seconds), C(milliseconds) and C(microseconds) tells how long it took.
      - The groups C(upstream), C(status) and those of time may hold several values, as C($upstream_addr), C($upstream_status) and
        C($upstream_response_time) of nginx do for a request that went to several servers; it counts for each of them then.
      - The default reads the combined format of nginx and Apache.
    type: str
    default: '" (?P<status>\d{3}) '
  ignore:
    description:
      - A regular expression; lines in which it is found are not counted, such as health checks.
    type: str
  slow_seconds:
    description:
      - Requests that took longer than that many seconds are counted as slow. By default none is.
    type: float
  since:
    description:
      - The RV(place) of an earlier answer, to count only what was written since. By default the whole log is counted.
    type: dict
    suboptions:
      inode:
        description:
          - Number of the file.
        type: int
        required: true
      offset:
        description:
          - Bytes of it that were read.
        type: int
        required: true
  max_bytes:
    description:
      - Of a longer log, no more bytes than that are read, the last ones.
    type: int
    default: 67108864
seealso:
  - module: seamless.rollout.lb_info
"""

EXAMPLES = r"""
- name: Count what nginx answered
  seamless.rollout.access_log_info:
    path: /var/log/nginx/access.log
    ignore: GET /health
  register: before

- name: Count what it has answered since
  seamless.rollout.access_log_info:
    path: /var/log/nginx/access.log
    ignore: GET /health
    since: "{{ before.place }}"
"""

RETURN = r"""
counts:
  description:
    - By who answered, C(requests), C(errors) and C(slow). The name is empty where O(pattern) has no group C(upstream).
  returned: success
  type: dict
  sample: {"": {"requests": 812, "errors": 3, "slow": 0}}
place:
  description:
    - Where the last whole line ends, for O(since).
  returned: success
  type: dict
  sample: {"inode": 131, "offset": 88123}
complete:
  description:
    - Whether nothing is missing. V(false) where the log was rotated and its former file is not there any more.
  returned: success
  type: bool
unread:
  description:
    - How many lines O(pattern) does not fit.
  returned: success
  type: int
"""

from ansible_collections.seamless.rollout.plugins.module_utils._access_log import ARGUMENT_SPEC, run
from ansible_collections.seamless.rollout.plugins.module_utils._module import run_module


def main() -> None:
    run_module(argument_spec=ARGUMENT_SPEC, operation=run)


if __name__ == "__main__":
    main()
