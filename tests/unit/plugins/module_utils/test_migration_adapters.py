# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The adapters against stand-ins, which take only the documented command lines. Alembic and Django have tests of their own, in tests/adapters."""

from __future__ import annotations

import contextlib
import json
import pathlib
import sys
import textwrap
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters import process, run
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import Command, Settings
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.execute import Execution, Limits
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.registry import ADAPTERS, adapter_of

# What all stand-ins share: the migrations that were run are lines of ran.txt, and each call is noted in calls.txt.
COMMON = """
import json, os, pathlib, re, sys
arguments = sys.argv[1:]
ran_file = pathlib.Path("ran.txt")
ran = ran_file.read_text().split("\\n")[:-1] if ran_file.exists() else None
with open("calls.txt", "a") as file:
    file.write(json.dumps({"argv": arguments, "env": {key: value for key, value in os.environ.items() if key in
        ("PGOPTIONS", "RAILS_ENV", "SKIP_POST_DEPLOYMENT_MIGRATIONS", "LIQUIBASE_COMMAND_URL", "SEAMLESS_PHASE")}}) + "\\n")
def note(names):
    with open(ran_file, "a") as file:
        file.writelines(name + "\\n" for name in names)
def files(directory, ending):
    return sorted(path.name[:-len(ending)] for path in pathlib.Path(directory).glob("*" + ending))
"""
RAILS = """
if len(arguments) != 1 or not re.fullmatch(r"db:migrate(:status)?(:(primary|contract))?", arguments[0]):
    sys.exit("Don't know how to build task '%s' (See the list of available tasks with `rails --tasks`)" % " ".join(arguments))
task, database = re.fullmatch(r"(db:migrate(?::status)?)(?::(\\w+))?", arguments[0]).groups()
paths = {"primary": ["db/migrate"], "contract": ["db/contract"], None: ["db/migrate"]}[database]
heeds = os.path.exists("config/initializers/post_migrate.rb")
if database is None and not (heeds and os.environ.get("SKIP_POST_DEPLOYMENT_MIGRATIONS")):
    paths = paths + ["db/post_migrate"]
known = {name.split("_")[0]: name.split("_", 1)[1].replace("_", " ").capitalize() for path in paths for name in files(path, ".rb")}
if task == "db:migrate:status":
    if ran is None:
        sys.exit("Schema migrations table does not exist yet.")
    print("\\ndatabase: shop\\n\\n Status   Migration ID    Migration Name\\n" + "-" * 50)
    for version in sorted(set(known) | set(ran)):
        print("  %s    %s  %s" % ("up  " if version in ran else "down", version, known.get(version, "********** NO FILE **********")))
else:
    note(version for version in sorted(known) if version not in (ran or []))
"""
LARAVEL = """
if arguments[:1] != ["artisan"]:
    sys.exit("Could not open input file: " + arguments[0])
command, *options = arguments[1:]
allowed = {"migrate": ("--path=", "--force", "--pretend", "--no-interaction", "--no-ansi", "--realpath"),
           "migrate:status": ("--path=", "--no-interaction", "--no-ansi", "--realpath")}
bad = [option for option in options if not any(option == one or one.endswith("=") and option.startswith(one) for one in allowed[command])]
if bad:
    sys.exit('The "%s" option does not exist.' % bad[0])
paths = [option[7:] for option in options if option.startswith("--path=")] or ["database/migrations"]
known = [name for path in paths for name in files(path, ".php")]
if command == "migrate:status":
    if ran is None:
        print("\\n   ERROR  Migration table not found.\\n"); sys.exit(1)
    if not known:
        print("\\n   INFO  No migrations found.\\n"); sys.exit(0)
    print("\\n  Migration name " + "." * 40 + " Batch / Status  ")
    for name in known:
        print("  %s %s %s  " % (name, "." * 20, "[1] Ran" if name in ran else "Pending"))
    sys.exit(0)
pending = [name for name in known if name not in (ran or [])]
if "--force" not in options:
    sys.exit("APPLICATION IN PRODUCTION. Command cancelled.")
if "--pretend" in options:
    print("\\n   INFO  Running migrations.  \\n")
    for name in pending:
        print("  %s %s  " % (name, "." * 20))
        print("  ⇂ " + [path for base in paths for path in pathlib.Path(base).glob(name + ".php")][0].read_text() + "  ")
elif not os.path.exists("isolated"):
    ran_file.touch()
    note(pending)
"""
FLYWAY = """
*options, verb = arguments
known = ("-outputType=", "-locations=", "-outOfOrder=", "-ignoreMigrationPatterns=", "-initSql=", "-postgresql.transactional.lock=", "-target=")
def fail(text):
    print(json.dumps({"error": {"errorCode": "FAULT", "message": text}})); sys.exit(1)
if verb not in ("info", "migrate") or any(not option.startswith(known) for option in options):
    fail("Invalid argument: " + " ".join(arguments))
values = dict(option[1:].split("=", 1) for option in options)
directories = [location[11:] for location in values.get("locations", "filesystem:sql").split(",") if location.startswith("filesystem:")]
scripts = {re.match(r"V(\\d+)__", path.name).group(1): path for directory in directories for path in pathlib.Path(directory).glob("V*.sql")}
ran = ran or []
missing = [version for version in ran if version not in scripts]
if verb == "migrate" and missing and "*:missing" not in values.get("ignoreMigrationPatterns", ""):
    fail("Validate failed: Migrations have failed validation\\nDetected applied migration not resolved locally: " + missing[0])
highest = max([int(version) for version in ran] or [0])
rows, todo = [], []
for version in sorted(set(scripts) | set(ran), key=int):
    above = "target" in values and int(version) > int(values["target"])
    late = int(version) < highest and values.get("outOfOrder") != "true"
    state = ("Missing" if version in missing else "Success") if version in ran else "Above Target" if above else "Ignored" if late else "Pending"
    todo += [version] if state == "Pending" else []
    rows.append({"category": "Versioned", "version": version, "description": "d" + version, "type": "SQL", "state": state,
                 "filepath": str(scripts[version].absolute()) if version in scripts else ""})
if verb == "migrate":
    note(todo)
print(json.dumps({"schemaVersion": str(highest), "migrations": rows}))
"""
LIQUIBASE = """
verb, *options = arguments
known = {"status": ("--verbose", "--contexts=", "--labels=", "--changelog-file="), "history": (),
         "update": ("--contexts=", "--labels=", "--changelog-file="), "update-sql": ("--contexts=", "--labels=", "--changelog-file=")}
if verb not in known or any(not option.startswith(known[verb]) for option in options):
    sys.exit("Unexpected error running Liquibase: Unknown argument: " + " ".join(options))
changesets = json.loads(pathlib.Path("changelog.json").read_text())
context = next((option.partition("=")[2] for option in options if option.startswith(("--contexts=", "--labels="))), None)
wanted = [one for one in changesets if (context is None or one["context"] in (context, "")) and one["id"] not in (ran or [])]
if verb == "status":
    if wanted:
        print("%d changesets have not been applied to shop@jdbc:postgresql://db/shop" % len(wanted))
        for one in wanted:
            print("     changelog.xml::%s::bob" % one["id"])
    else:
        print("shop@jdbc:postgresql://db/shop is up to date")
elif verb == "history":
    print("Liquibase History for jdbc:postgresql://db/shop\\n")
    for name in ran or []:
        print("   changelog.xml::%s::bob" % name)
elif verb == "update-sql":
    print("-- *****\\n-- Update Database Script\\nUPDATE public.databasechangeloglock SET LOCKED = TRUE WHERE ID = 1;")
    for one in wanted:
        print(one["sql"] + ";\\nINSERT INTO public.databasechangelog (ID) VALUES ('%s');" % one["id"])
elif os.path.exists("locked"):
    sys.exit("Could not acquire change log lock.  Currently locked by web1 (192.0.2.7) since 11/25/26, 7:00 AM")
else:
    note(one["id"] for one in wanted)
"""
STANDINS = {"rails": ("rails", RAILS), "laravel": ("php", LARAVEL), "flyway": ("flyway", FLYWAY), "liquibase": ("liquibase", LIQUIBASE)}
ADD, DROP = "ALTER TABLE people ADD full_name text", "ALTER TABLE people DROP COLUMN name"


class Release:
    """A release's directory with the stand-in of one framework."""

    def __init__(self, path: pathlib.Path, framework: str, engine: str = "postgresql") -> None:
        self.path, self.framework, self.engine, self.locked = path, framework, engine, 0
        (path / "bin").mkdir()
        if framework in STANDINS:
            name, program = STANDINS[framework]
            (path / "bin" / name).write_text(f"#!{sys.executable}\n{COMMON}{program}")
            (path / "bin" / name).chmod(0o755)

    def write(self, name: str, text: str = "") -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def calls(self) -> list[dict[str, t.Any]]:
        return [json.loads(line) for line in (self.path / "calls.txt").read_text().splitlines()]

    def ran(self) -> list[str]:
        return (self.path / "ran.txt").read_text().split()

    @contextlib.contextmanager
    def _lock(self) -> t.Iterator[None]:
        self.locked += 1
        yield

    def execution(self, phase: str, allow: t.Sequence[str] = (), **options: t.Any) -> Execution:
        settings = Settings(self.framework, str(self.path), phase, self.engine, app="shop", **{"bin_dir": str(self.path / "bin"), **options})
        return Execution(adapter_of(self.framework), settings, lock=self._lock, limits=Limits(20.0, 0.0), allow=allow)

    def phase(self, phase: str, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        return self.execution(phase, **options).phase(check)


@pytest.fixture
def release(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Release:
    return Release(tmp_path, request.param)


of = pytest.mark.parametrize


@of("release", ["rails"], indirect=True)
def test_rails_post_migrations(release: Release) -> None:
    release.write("db/migrate/20260101000000_create_people.rb")
    release.write("db/post_migrate/20260102000000_drop_name.rb")
    release.write("config/initializers/post_migrate.rb")
    first = release.phase("expand")
    assert first["fresh"] and first["ran"] == ["20260101000000 create_people"] and release.ran() == ["20260101000000"]
    call = release.calls()[-2]
    assert call["env"] == {"PGOPTIONS": "-c lock_timeout=100ms", "RAILS_ENV": "production", "SKIP_POST_DEPLOYMENT_MIGRATIONS": "true"}
    assert not release.phase("expand")["changed"]
    done = release.phase("contract", environment={"RAILS_ENV": "staging"})
    assert done["ran"] == ["20260102000000 Drop name"] and release.calls()[-2]["env"]["RAILS_ENV"] == "staging" and release.locked == 3
    assert any("rails can't print the SQL" in warning for warning in done["warnings"])


@of("release", ["rails"], indirect=True)
def test_rails_that_does_not_heed_the_variable(release: Release) -> None:
    release.write("db/migrate/20260101000000_create_people.rb")
    release.phase("expand")
    release.write("db/post_migrate/20260102000000_drop_name.rb")
    with pytest.raises(SeamlessError, match="the application does not heed SKIP_POST_DEPLOYMENT_MIGRATIONS"):
        release.phase("expand")


@of("release", ["rails"], indirect=True)
def test_rails_databases_and_one_heap(release: Release) -> None:
    release.write("db/migrate/20260101000000_create_people.rb")
    release.phase("expand", split="databases")
    release.write("db/contract/20260102000000_drop_name.rb")
    assert release.phase("contract", split="databases")["ran"] == ["20260102000000 Drop name"]
    release.write("db/migrate/20260103000000_more.rb")
    with pytest.raises(SeamlessError, match="refused: unknown: rails can't print the SQL.*Or split the migrations"):
        release.phase("expand", split="none")
    assert release.phase("expand", split="none", allow=["unknown"])["changed"]
    with pytest.raises(SeamlessError, match="no name of a database"):
        release.phase("expand", split="databases", expand=("a b",))
    with pytest.raises(SeamlessError, match="Rails has no such task"):
        release.phase("expand", split="databases", expand=("other",))


@of("release", ["laravel"], indirect=True)
def test_laravel(release: Release) -> None:
    release.write("database/migrations/expand/2026_01_01_000000_create_people.php", "create table people (id int)")
    assert release.phase("expand")["ran"] == ["2026_01_01_000000_create_people"]
    assert not release.phase("contract")["changed"]
    release.write("database/migrations/expand/2026_01_02_000000_full_name.php", ADD)
    release.write("database/migrations/contract/2026_01_03_000000_drop_name.php", DROP)
    told = release.phase("expand", check=True)
    assert told["sql"] == ADD and told["pending"] == ["2026_01_02_000000_full_name"] and told["changed"]
    assert release.phase("expand")["ran"] == ["2026_01_02_000000_full_name"]
    assert release.phase("contract")["ran"] == ["2026_01_03_000000_drop_name"]
    release.write("database/migrations/expand/2026_01_04_000000_bad.php", DROP)
    with pytest.raises(SeamlessError, match="drop-column"):
        release.phase("expand")
    with pytest.raises(SeamlessError, match="There is no artisan|Could not open input file"):
        release.phase("expand", binary=(str(release.path / "bin" / "php"), "other"))


@of("release", ["laravel"], indirect=True)
def test_success_that_did_nothing_is_seen(release: Release) -> None:
    release.write("database/migrations/expand/2026_01_01_000000_create_people.php", "create table people (id int)")
    release.write("isolated")
    with pytest.raises(SeamlessError, match="laravel reported success, and 2026_01_01_000000_create_people is pending as before"):
        release.phase("expand")


def test_laravel_before_9_21() -> None:
    adapter = adapter_of("laravel")
    settings = adapter.complete(Settings("laravel", "/srv", "expand", "mariadb"))
    old = process.Result(0, "| Ran? | Migration | Batch |\n| Yes  | 2020_01_01_000000_a | 1     |\n| No   | 2020_01_02_000000_b |       |\n")
    state = adapter.read_status(settings, [old])
    assert (state.applied, state.pending) == (("2020_01_01_000000_a",), ("2020_01_02_000000_b",))
    shown = adapter.read_preview(settings, state, [process.Result(0, "CreateA: create table `a` (`id` int)\nCreateA: alter table `a` add index `i`(`id`)\n")])
    assert shown.sql == "create table `a` (`id` int);\nalter table `a` add index `i`(`id`)"


@of("release", ["flyway"], indirect=True)
def test_flyway(release: Release) -> None:
    release.write("db/expand/V1__people.sql", "CREATE TABLE people (id int);")
    assert release.phase("expand")["ran"] == ["1 d1"]
    release.write("db/expand/V4__full_name.sql", ADD)
    release.write("db/contract/V3__name.sql", DROP)
    done = release.phase("expand")
    assert done["ran"] == ["4 d4"] and done["lock_timeout_by"] == "initSql"
    assert release.calls()[-2]["argv"] == [
        "-outputType=json", "-locations=filesystem:db/expand", "-outOfOrder=true", "-ignoreMigrationPatterns=*:missing,*:future",
        "-postgresql.transactional.lock=false", "-initSql=SET lock_timeout='100ms'", "migrate",
    ]
    assert release.phase("contract")["ran"] == ["3 d3"]
    assert not release.phase("expand")["changed"] and not release.phase("contract")["changed"]
    release.write("db/expand/V5__bad.sql", DROP)
    with pytest.raises(SeamlessError, match="5 d5.*drop-column"):
        release.phase("expand")


@of("release", ["flyway"], indirect=True)
def test_flyway_targets(release: Release) -> None:
    release.write("sql/V1__people.sql", "CREATE TABLE people (id int);")
    release.write("sql/V2__name.sql", DROP)
    assert release.phase("expand", split="targets", expand=("1",))["ran"] == ["1 d1"]
    assert release.phase("contract", split="targets", expand=("1",))["ran"] == ["2 d2"]
    with pytest.raises(SeamlessError, match="expand is empty"):
        release.phase("expand", split="targets")


@of("release", ["liquibase"], indirect=True)
def test_liquibase(release: Release) -> None:
    changes = [{"id": "1", "context": "expand", "sql": "CREATE TABLE people (id int)"}]
    release.write("changelog.json", json.dumps(changes))
    assert release.phase("expand")["ran"] == ["changelog.xml::1::bob"]
    changes += [{"id": "2", "context": "expand", "sql": ADD}, {"id": "3", "context": "contract", "sql": DROP}]
    release.write("changelog.json", json.dumps(changes))
    url = "jdbc:postgresql://db/shop?user=shop&password=hunter22"
    done = release.phase("expand", secrets={"LIQUIBASE_COMMAND_URL": url}, arguments=("--changelog-file=c.xml",))
    assert done["ran"] == ["changelog.xml::2::bob"] and done["lock_timeout_by"] == "the JDBC URL" and "hunter22" not in json.dumps(done)
    call = next(one for one in reversed(release.calls()) if one["argv"][0] == "update")
    assert call["argv"] == ["update", "--contexts=expand", "--changelog-file=c.xml"]
    assert call["env"]["LIQUIBASE_COMMAND_URL"] == f"{url}&options=-c%20lock_timeout%3D100ms"
    release.write("locked")
    with pytest.raises(SeamlessError, match=r"lock is held by web1 \(192.0.2.7\) since"):
        release.phase("contract")
    changes.append({"id": "4", "context": "", "sql": DROP})
    release.write("changelog.json", json.dumps(changes))
    with pytest.raises(SeamlessError, match="changelog.xml::4::bob.*drop-column"):
        release.phase("expand")


@of("release", ["command"], indirect=True)
def test_any_command(release: Release) -> None:
    commands: dict[str, t.Any] = {
        "expand_cmd": 'echo "$SEAMLESS_PHASE $SEAMLESS_APP" >> ran.txt', "contract_cmd": ["sh", "-c", "exit 3"],
        "status_cmd": '[ "$SEAMLESS_PHASE" = contract ] || [ -e ran.txt ] || echo 001_names',
    }
    done = release.phase("expand", commands=commands)
    assert done["ran"] == ["001_names"] and release.ran() == ["expand", "shop"]
    assert not release.phase("expand", commands=commands)["changed"] and not release.phase("contract", commands=commands)["changed"]
    del commands["status_cmd"]
    assert release.phase("expand", commands=commands)["changed"] and len(release.ran()) == 4
    with pytest.raises(SeamlessError, match="sh -c exit 3 ended with 3"):
        release.phase("contract", commands=commands)
    assert not release.phase("contract", commands={"expand_cmd": "true"})["changed"]
    assert release.execution("expand", commands=commands).status()["known"] is False


def sql_directory(path: pathlib.Path, **more: t.Any) -> dict[str, t.Any]:
    params: dict[str, t.Any] = {name: option.get("default") for name, option in run.ARGUMENT_SPEC.items()}
    return run.run({**params, "framework": "sql", "directory": str(path), "phase": "status", "app": "shop", "release": "2.0", **more}, False)


def test_a_directory_of_sql_is_refused_as_a_framework_is(tmp_path: pathlib.Path) -> None:
    (tmp_path / "001_people.expand.sql").write_text(ADD)
    (tmp_path / "001_people.contract.sql").write_text(DROP)
    assert [spec["name"] for spec in sql_directory(tmp_path)["specs"]] == ["001_people"]
    (tmp_path / "002_name.expand.sql").write_text(f"-- too early\n{DROP};")
    with pytest.raises(SeamlessError, match=r"002_name would break running code .*002_name.expand.sql, line 2: drop-column: .*in allow") as refused:
        sql_directory(tmp_path)
    assert "001_people" not in str(refused.value)
    assert refused.value.details["findings"][0]["file"] == str(tmp_path / "002_name.expand.sql")
    meant = sql_directory(tmp_path, allow=["drop-column"])
    assert meant["pending"] == ["001_people", "002_name"]
    assert any("002_name.expand.sql, line 2: drop-column" in line for line in meant["warnings"]), "it is allowed, and told all the same"
    begun = sql_directory(tmp_path, begun=["002_name"])
    assert len(begun["specs"]) == 2 and not begun["findings"], "what has begun can't be changed any more"


def test_what_can_not_be_set() -> None:
    with pytest.raises(SeamlessError, match="Did you mean flyway"):
        adapter_of("flywey")
    for name, adapter in ADAPTERS.items():
        settings = Settings(name, "/srv", "expand", "mariadb", commands={"expand_cmd": "true"})
        with pytest.raises(SeamlessError, match=f"with framework {name} it is one of"):
            adapter.complete(Settings(**{**vars(settings), "split": "nonsense"}))
        if name not in ("alembic", "command", "flyway", "liquibase"):
            assert adapter.lock_timeout_by(settings) is None and "lock_wait_timeout" in adapter.lock_timeout_advice(settings)
    with pytest.raises(SeamlessError, match="they must differ"):
        adapter_of("liquibase").complete(Settings("liquibase", "/srv", "expand", "mariadb", expand=("a",), contract=("a",)))


def test_processes(tmp_path: pathlib.Path) -> None:
    shouting = Command((sys.executable, "-c", "print('x' * 6_000_000); print('end')"), str(tmp_path))
    done = process.run(shouting, 20)
    assert len(done.stdout) < 4_500_000 and "bytes left out" in done.stdout and done.stdout.endswith("end\n")
    with pytest.raises(SeamlessError, match=r"took more than 0.3 s and was ended") as caught:
        process.run(Command("echo begun; sleep 60 & sleep 60", str(tmp_path)), 0.3)
    assert caught.value.details["output"] == "begun\n"
    with pytest.raises(SeamlessError, match="does not exist on this host"):
        process.run(Command(("true",), "/nonexistent"), 1)
    hide = process.Curtain(["s3cret-word", "postgresql://a:p4ss@db/shop"])
    text = "s3cret-word p4ss mysql://u:other@h/d Password: abc; postgresql://a:p4ss@db/shop"
    assert hide(text) == "******** ******** mysql://u:********@h/d Password: ********; ********"


def test_documented_standins_are_strict(tmp_path: pathlib.Path) -> None:
    release = Release(tmp_path, "flyway")
    done = process.run(Command((str(tmp_path / "bin" / "flyway"), "-isolated", "migrate"), str(release.path)), 20)
    assert done.code == 1 and "Invalid argument" in done.stdout
    assert textwrap.dedent(done.stdout).startswith("{")
