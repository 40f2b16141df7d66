# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Alembic adapter with Alembic itself, on SQLite and PostgreSQL."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

from . import calls
from .conftest import Site

ENV = """
import os
from alembic import context
from sqlalchemy import create_engine
if context.is_offline_mode():
    context.configure(url=os.environ["DB_URL"], literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(os.environ["DB_URL"]).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
INI = """
[alembic]
script_location = %(here)s/mig
path_separator = space
version_locations = %(here)s/mig/expand %(here)s/mig/contract
"""
REVISION = """
from alembic import op
import sqlalchemy as sa
revision, down_revision, branch_labels, depends_on = {head!r}
def upgrade():
    {body}
"""
USERS = 'op.create_table("users", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50)))'
ADD = 'op.add_column("users", sa.Column("full_name", sa.String(50)))'
DROP = 'op.drop_column("users", "name")'


def revision(site: Site, branch: str, name: str, body: str, after: str | None = None, depends: str | None = None) -> None:
    labels = (branch,) if after is None else None
    text = REVISION.format(head=(name, after, labels, depends), body=body)
    (site.directory / "mig" / branch / f"{name}.py").write_text(text)


@pytest.fixture
def app_on_each(site: Site) -> Site:
    return _lay_out(site)


@pytest.fixture
def app(sqlite_site: Site) -> Site:
    return _lay_out(sqlite_site)


@pytest.fixture
def app_on_postgresql(postgresql_site: Site) -> Site:
    return _lay_out(postgresql_site)


def _lay_out(site: Site) -> Site:
    for branch in ("expand", "contract"):
        (site.directory / "mig" / branch).mkdir(parents=True)
    (site.directory / "alembic.ini").write_text(INI)
    (site.directory / "mig" / "env.py").write_text(ENV)
    revision(site, "expand", "e1", USERS)
    return site


def call(site: Site, phase: str, **options: t.Any) -> t.Any:
    return calls.call(site, "alembic", phase, secrets={"DB_URL": site.url}, **options)


def test_two_branches(app_on_each: Site) -> None:
    app = app_on_each
    first = call(app, "expand")
    assert first["changed"] and first["ran"] == ["e1"] and first["fresh"]
    assert not call(app, "contract")["changed"], "there is no contract branch yet"
    revision(app, "expand", "e2", ADD, after="e1")
    revision(app, "contract", "c1", DROP, depends="e2")
    assert call(app, "status")["pending"] == {"expand": ["e2"], "contract": ["e2", "c1"]}
    told = call(app, "expand", check=True)
    assert told["changed"] and told["pending"] == ["e2"] and "ADD COLUMN full_name" in told["sql"] and "DROP" not in told["sql"]
    assert app.columns("users") == ["id", "name"], "check mode runs nothing"
    calls.held.clear()
    done = call(app, "expand")
    assert calls.held == ["in", "out"]
    assert done["ran"] == ["e2"] and done["findings"] == [] and app.columns("users") == ["full_name", "id", "name"]
    assert not call(app, "expand")["changed"]
    assert call(app, "contract")["ran"] == ["c1"] and app.columns("users") == ["full_name", "id"]
    again = call(app, "contract")
    assert not again["changed"] and sorted(again["applied"]) == ["c1", "e1", "e2"]


def test_what_breaks_old_code_is_refused_before_the_roll(app: Site) -> None:
    call(app, "expand")
    revision(app, "expand", "e2", DROP, after="e1")
    for options in ({}, {"split": "none"}):
        with pytest.raises(SeamlessError, match=r"e2.*refused: drop-column: old code that uses users.name fails"):
            call(app, "expand", **options)
    assert app.columns("users") == ["id", "name"]
    assert call(app, "expand", allow=["drop-column"])["ran"] == ["e2"]


@pytest.mark.full
def test_one_branch_runs_when_it_is_additive(app: Site) -> None:
    call(app, "expand", split="none")
    revision(app, "expand", "e2", ADD, after="e1")
    assert call(app, "expand", split="none")["ran"] == ["e2"]
    revision(app, "expand", "e3", 'op.get_bind().execute(sa.text("SELECT 1")).scalar()', after="e2")
    with pytest.raises(SeamlessError, match="unknown: Alembic's offline mode can't show"):
        call(app, "expand", split="none")
    assert call(app, "contract", split="none", check=True)["pending"] == ["e3"]


@pytest.mark.full
def test_expand_must_not_need_the_contract(app: Site) -> None:
    call(app, "expand")
    revision(app, "contract", "c1", "pass", depends="e1")
    revision(app, "expand", "e2", ADD, after="e1", depends="c1")
    with pytest.raises(SeamlessError, match=r"expand@head needs revision c1 of the branch contract"):
        call(app, "expand")


def test_wrong_settings_and_failures_are_explained(app: Site) -> None:
    with pytest.raises(SeamlessError, match="every branch"):
        call(app, "expand", expand=("heads",))
    with pytest.raises(SeamlessError, match="no nope@head: label a revision"):
        call(app, "expand", expand=("nope@head",))
    with pytest.raises(SeamlessError, match=r"alembic can't be run .* set bin_dir or binary"):
        call(app, "expand", bin_dir="/nonexistent")
    call(app, "expand")
    revision(app, "expand", "e2", "raise RuntimeError(__import__('os').environ['DB_URL'])", after="e1")
    with pytest.raises(SeamlessError, match="ended with 1") as caught:
        call(app, "expand", allow=["unknown"])
    assert app.url not in str(caught.value) + str(caught.value.details) and "********" in str(caught.value)


@pytest.mark.full
def test_a_database_from_the_future(app: Site) -> None:
    call(app, "expand")
    app.sql("UPDATE alembic_version SET version_num = 'e9'")
    with pytest.raises(SeamlessError, match="e9"):
        call(app, "status")


@pytest.mark.full
def test_lock_timeout_and_retries(app_on_postgresql: Site) -> None:
    site = app_on_postgresql
    call(site, "expand")
    revision(site, "expand", "e2", ADD, after="e1")
    with calls.reader(site, "users", 25), pytest.raises(SeamlessError, match="waited longer for a lock") as caught:
        call(site, "expand", lock_wait_total=10)
    assert caught.value.details["attempts"] > 1
    # Longer than it takes until the statement comes, on a busy machine too.
    with calls.reader(site, "users", 12):
        done = call(site, "expand", lock_wait_total=60)
    assert done["ran"] == ["e2"] and done["attempts"] > 1 and done["lock_timeout_by"] == "PGOPTIONS"


@pytest.mark.full
def test_a_concurrent_index_is_not_broken_off(app_on_postgresql: Site) -> None:
    site = app_on_postgresql
    call(site, "expand")
    body = 'with op.get_context().autocommit_block(): op.create_index("users_name", "users", ["name"], postgresql_concurrently=True)'
    revision(site, "expand", "e2", body, after="e1")
    with calls.reader(site, "users", 3):
        done = call(site, "expand")
    assert done["ran"] == ["e2"] and done["attempts"] == 1 and done["lock_timeout_by"] is None
    assert site.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'users_name'::regclass") == "t"
    revision(site, "expand", "e3", body.replace("users_name", "users_again") + f"\n    {ADD}", after="e2")
    with pytest.raises(SeamlessError, match="concurrently-with-locks"):
        call(site, "expand")
