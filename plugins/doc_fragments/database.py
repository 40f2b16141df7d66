# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  engine:
    description:
      - Kind of database. V(mariadb) is for MySQL too.
      - What is for MySQL 8 is written after its documentation and not tested. PostgreSQL 15 and MariaDB 10.11 are tested.
    type: str
    choices:
      - postgresql
      - mariadb
    default: postgresql
  login_host:
    description:
      - Host of the database server. Empty means the server's local socket.
      - It must be the server itself. A connection pooler such as PgBouncer is refused, since locks and settings of a session leak there.
    type: str
    default: ''
  login_port:
    description:
      - Port of the database server. Without it, the usual one of O(engine).
    type: int
  login_user:
    description:
      - User to log in as. For PostgreSQL it must own the tables, or be a member of the role that does.
    type: str
    default: ''
  login_password:
    description:
      - Password of O(login_user).
    type: str
    default: ''
  login_db:
    description:
      - Database of the application. The ledger of its migrations is kept there too.
    type: str
    required: true
    aliases:
      - db
      - database
  login_unix_socket:
    description:
      - Unix socket of the server. For PostgreSQL its directory.
    type: path
    default: ''
  ssl_mode:
    description:
      - Whether and how the connection is encrypted and the server's certificate is checked. Empty leaves it to the driver.
    type: str
    choices:
      - ''
      - disable
      - prefer
      - require
      - verify-ca
      - verify-full
    default: ''
  ca_cert:
    description:
      - File with the certificate of the authority that signed the server's.
    type: path
    default: ''
    aliases:
      - ssl_rootcert
  client_cert:
    description:
      - File with the client's certificate.
    type: path
    default: ''
    aliases:
      - ssl_cert
  client_key:
    description:
      - File with the client's private key.
    type: path
    default: ''
    aliases:
      - ssl_key
  session_role:
    description:
      - Role to switch to after the login, which will own what is made. PostgreSQL only.
    type: str
    default: ''
  schema:
    description:
      - Schema in which tables without one are looked for first. PostgreSQL only.
    type: str
    default: ''
  config_file:
    description:
      - Option file with the login, such as V(~/.my.cnf). MariaDB and MySQL only.
    type: path
    default: ''
  connect_timeout:
    description:
      - Seconds that connecting may take.
    type: int
    default: 10
requirements:
  - psycopg 3.1 or newer, or psycopg2, for PostgreSQL (packages python3-psycopg and python3-psycopg2)
  - PyMySQL for MariaDB and MySQL (package python3-pymysql)
notes:
  - The drivers must be on the host that runs the task, which need not be the database server.
  - Options are called as in community.postgresql and community.mysql, which are not needed.
seealso:
  - module: community.postgresql.postgresql_query
  - module: community.mysql.mysql_query
"""

    ACTIONGROUP_DATABASE = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/seamless.rollout.database) in C(module_defaults) to set the login once for all modules of the database.
    support: full
    membership:
      - seamless.rollout.database
"""
