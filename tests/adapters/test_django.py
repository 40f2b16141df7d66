# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Django adapter with Django and django-syzygy themselves, on SQLite and PostgreSQL."""

from __future__ import annotations

import os
import sys
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

from . import calls
from .conftest import Site

SETTINGS = """
import os
SECRET_KEY = "only for the test"
INSTALLED_APPS = ["shop", *filter(None, os.environ.get("MORE_APPS", "").split(","))]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
if os.environ.get("PG_SOCKET"):
    DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["DB_NAME"], "USER": "postgres", "HOST": os.environ["PG_SOCKET"]}}
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "t.db"}}
"""
MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
MIGRATION = """
from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = {dependencies!r}
    operations = [{operation}]
"""
CREATE = 'migrations.CreateModel("Person", [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=50, default="x"))])'
ADD = 'migrations.AddField("person", "full_name", models.CharField(max_length=50, null=True))'
ADD_WITH_DEFAULT = 'migrations.AddField("person", "age", models.IntegerField(default=0))'
ADD_WITH_DB_DEFAULT = 'migrations.AddField("person", "age", models.IntegerField(db_default=0))'
REMOVE = 'migrations.RemoveField("person", "name")'
PYTHON = "migrations.RunPython(migrations.RunPython.noop)"


def migration(site: Site, name: str, operation: str, after: str | None = None) -> None:
    text = MIGRATION.format(dependencies=[("shop", after)] if after else [], operation=operation)
    (site.directory / "shop" / "migrations" / f"{name}.py").write_text(text)


def _lay_out(site: Site) -> Site:
    (site.directory / "shop" / "migrations").mkdir(parents=True)
    for name in ("shop/__init__.py", "shop/migrations/__init__.py"):
        (site.directory / name).write_text("")
    (site.directory / "settings.py").write_text(SETTINGS)
    (site.directory / "manage.py").write_text(MANAGE)
    migration(site, "0001_initial", CREATE)
    return site


@pytest.fixture
def app(sqlite_site: Site) -> Site:
    return _lay_out(sqlite_site)


@pytest.fixture
def app_on_postgresql(postgresql_site: Site) -> Site:
    return _lay_out(postgresql_site)


@pytest.fixture
def app_on_each(site: Site) -> Site:
    return _lay_out(site)


def call(site: Site, phase: str, **options: t.Any) -> t.Any:
    environment = {"PG_SOCKET": site.socket, "DB_NAME": site.database, **options.pop("environment", {})}
    return calls.call(site, "django", phase, environment=environment, **options)


def test_plain_django_runs_what_is_additive(app_on_each: Site) -> None:
    app = app_on_each
    first = call(app, "expand")
    assert first["ran"] == ["shop.0001_initial"] and first["fresh"]
    migration(app, "0002_full_name", ADD, after="0001_initial")
    told = call(app, "expand", check=True)
    assert told["changed"] and told["pending"] == ["shop.0002_full_name"] and 'ADD COLUMN "full_name"' in told["sql"]
    assert app.columns("shop_person") == ["id", "name"]
    assert call(app, "expand")["ran"] == ["shop.0002_full_name"]
    assert not call(app, "expand")["changed"]
    migration(app, "0003_no_name", REMOVE, after="0002_full_name")
    with pytest.raises(SeamlessError, match=r"shop.0003_no_name.*refused: drop-.*Or split the migrations, with split: syzygy or targets"):
        call(app, "expand")
    assert app.columns("shop_person") == ["full_name", "id", "name"]
    status = call(app, "status")
    assert status["applied"] == ["shop.0001_initial", "shop.0002_full_name"] and status["pending"]["contract"] == ["shop.0003_no_name"]


@pytest.mark.full
def test_defaults_that_django_drops_again(app_on_postgresql: Site) -> None:
    app = app_on_postgresql
    call(app, "expand")
    migration(app, "0002_age", ADD_WITH_DEFAULT, after="0001_initial")
    with pytest.raises(SeamlessError, match="drop-default: old code that leaves shop_person.age out"):
        call(app, "expand")
    migration(app, "0002_age", ADD_WITH_DB_DEFAULT, after="0001_initial")
    assert call(app, "expand")["ran"] == ["shop.0002_age"]
    assert app.sql("INSERT INTO shop_person (name) VALUES ('old code') RETURNING age").startswith("0")


def test_python_can_not_be_judged(app: Site) -> None:
    call(app, "expand")
    migration(app, "0002_python", PYTHON, after="0001_initial")
    with pytest.raises(SeamlessError, match="unknown: shop.0002_python has an operation that is Python, not SQL"):
        call(app, "expand")
    assert call(app, "expand", allow=["unknown"])["ran"] == ["shop.0002_python"]


@pytest.mark.full
def test_targets(app_on_postgresql: Site) -> None:
    app = app_on_postgresql
    call(app, "expand", split="targets", expand=("shop 0001_initial",))
    migration(app, "0002_full_name", ADD, after="0001_initial")
    migration(app, "0003_no_name", REMOVE, after="0002_full_name")
    options: dict[str, t.Any] = {"split": "targets", "expand": ("shop 0002_full_name",)}
    assert call(app, "expand", **options)["ran"] == ["shop.0002_full_name"]
    assert not call(app, "expand", **options)["changed"]
    assert call(app, "contract", **options)["ran"] == ["shop.0003_no_name"]
    with pytest.raises(SeamlessError, match="would go back"):
        call(app, "expand", **options)
    with pytest.raises(SeamlessError, match="no application and migration"):
        call(app, "expand", split="targets", expand=("0002",))


def test_syzygy(app_on_each: Site) -> None:
    app = app_on_each
    options: dict[str, t.Any] = {"split": "syzygy", "environment": {"MORE_APPS": "syzygy"}}
    call(app, "expand", **options)
    migration(app, "0002_full_name", ADD, after="0001_initial")
    migration(app, "0003_no_name", REMOVE, after="0002_full_name")
    status = call(app, "status", **options)
    assert status["pending"] == {"expand": ["shop.0002_full_name"], "contract": ["shop.0002_full_name", "shop.0003_no_name"]}
    assert call(app, "expand", **options)["ran"] == ["shop.0002_full_name"]
    assert not call(app, "expand", **options)["changed"] and app.columns("shop_person") == ["full_name", "id", "name"]
    allow = ["unknown", "drop-table"] if app.engine == "sqlite" else []  # SQLite's Django makes the table anew
    assert call(app, "contract", allow=allow, **options)["ran"] == ["shop.0003_no_name"] and app.columns("shop_person") == ["full_name", "id"]


@pytest.mark.full
def test_what_is_missing_is_explained(app: Site) -> None:
    with pytest.raises(SeamlessError, match="django-syzygy is not in INSTALLED_APPS"):
        call(app, "expand", split="syzygy")
    with pytest.raises(SeamlessError, match="lacks a package: set bin_dir"):
        call(app, "expand", bin_dir=os.path.dirname(sys.executable))


@pytest.mark.full
def test_lock_timeout(app_on_postgresql: Site) -> None:
    app = app_on_postgresql
    call(app, "expand")
    migration(app, "0002_full_name", ADD, after="0001_initial")
    # Longer than it takes until the statement comes, on a busy machine too.
    with calls.reader(app, "shop_person", 12):
        done = call(app, "expand", lock_wait_total=60)
    assert done["ran"] == ["shop.0002_full_name"] and done["attempts"] > 1
