"""What is installed, and how it is run elsewhere: the lock file, the image, the compose file."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from carbonapi.serving import supervisor
from carbonapi.settings import DEFAULTS

PROJECT = Path(__file__).resolve().parents[1]
LOCK = (PROJECT / "requirements.lock").read_text()
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
SECTIONS = ("the service", "embedded PostgreSQL", "tests and checks", "benchmarks")


def pinned_in(title: str) -> dict[str, set[str]]:
    """The versions of each package that a section of the lock file pins: two, where platforms differ."""
    _, _, rest = LOCK.partition(f"\n# ==== {title} ====\n")
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", rest.partition("\n# ====")[0], re.MULTILINE):
        versions.setdefault(name, set()).add(version)
    return versions


def asked_for(section: str, option: str) -> list[Requirement]:
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    return [Requirement(line) for line in setup[section][option].splitlines() if line]


@pytest.mark.parametrize(
    ("title", "requirements"),
    [
        ("the service", asked_for("options", "install_requires")),
        ("embedded PostgreSQL", asked_for("options.extras_require", "embedded")),
        ("tests and checks", asked_for("options.extras_require", "test")),
        ("benchmarks", asked_for("options.extras_require", "bench")),
    ],
    ids=SECTIONS,
)
def test_the_lock_file_pins_what_setup_cfg_asks_for(title: str, requirements: list[Requirement]) -> None:
    sections = SECTIONS[: SECTIONS.index(title) + 1]
    pinned = {name: versions for section in sections for name, versions in pinned_in(section).items()}

    for requirement in requirements:
        versions = pinned[canonicalize_name(requirement.name)]
        assert all(version in requirement.specifier for version in versions), requirement


def test_no_package_is_in_two_sections_of_the_lock_file() -> None:
    names = [name for title in SECTIONS for name in pinned_in(title)]

    assert len(names) == len(set(names))


def test_the_lock_file_holds_versions_and_hashes_and_nothing_else() -> None:
    package = r"[a-z0-9-]+==[\w.]+( ; [\w .'()<>=!]+)? \\\n(    --hash=sha256:[0-9a-f]{64} \\\n)*"
    last_hash = r"    --hash=sha256:[0-9a-f]{64}\n"

    assert re.fullmatch(f"(#.*\n|\n|{package}{last_hash})+", LOCK)


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile"])
def test_where_the_lock_file_is_cut_a_section_begins(file: str) -> None:
    cuts = re.findall(r"sed '/\^(# ==== [^/]+)/,", (PROJECT / file).read_text())

    assert cuts
    for cut in cuts:
        assert f"\n{cut} ====\n" in LOCK


def test_the_service_installs_from_its_section_alone(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    section = tmp_path / "service.lock"
    section.write_text(LOCK.partition("\n# ==== embedded PostgreSQL")[0])

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    options = ["--quiet", "--no-compile", "--no-deps", "--require-hashes"]
    subprocess.run([*pip, "install", *options, "-r", str(section)], check=True)
    subprocess.run([*pip, "check"], check=True)
    subprocess.run([python, "-c", "import carbonapi.commands, granian"], cwd=PROJECT, check=True)


def test_the_image_runs_as_an_account_without_rights() -> None:
    instructions = [line.split(None, 1) for line in DOCKERFILE.splitlines() if line[:1].isupper()]
    accounts = [argument for instruction, argument in instructions if instruction == "USER"]

    assert accounts == ["10001:10001"]
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nCMD ")


def test_images_are_pinned_by_tag() -> None:
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) + [COMPOSE["services"]["database"]["image"]]

    for image in images:
        assert re.fullmatch(r"\w+:\d[\w.-]*", image), image


def test_the_image_has_the_programs_that_backups_need() -> None:
    cut = re.search(r"sed '/\^(# ==== [^/]+)/,\$d' requirements.lock", DOCKERFILE)

    assert cut is not None
    assert "\nembedded-postgres==" in LOCK.partition(cut[1])[0]


def test_the_image_is_healthy_when_the_service_is_ready() -> None:
    assert "/health/ready" in DOCKERFILE.partition("\nHEALTHCHECK ")[2].partition("\nCMD ")[0]


def test_compose_asks_for_every_secret_and_knows_none() -> None:
    app = COMPOSE["services"]["app"]["environment"]
    database = COMPOSE["services"]["database"]["environment"]

    assert app["CARBONAPI_SECRET_KEY"].startswith("${CARBONAPI_SECRET_KEY:?")
    assert app["CARBONAPI_DATABASE_URL"].startswith("postgresql://carbonapi_app:${CARBONAPI_DATABASE_PASSWORD:?")
    assert app["CARBONAPI_MIGRATION_DATABASE_URL"].startswith("postgresql://carbonapi:${CARBONAPI_OWNER_PASSWORD:?")
    assert database["POSTGRES_PASSWORD"].startswith("${CARBONAPI_OWNER_PASSWORD:?")
    assert database["CARBONAPI_DATABASE_PASSWORD"].startswith("${CARBONAPI_DATABASE_PASSWORD:?")


def test_the_example_names_every_variable_of_compose_and_no_secret() -> None:
    example = dict(re.findall(r"^(\w+)=(.*)$", (PROJECT / ".env.example").read_text(), re.MULTILINE))
    used = set(re.findall(r"\$\{(\w+)", (PROJECT / "docker-compose.yml").read_text()))

    assert example.keys() == used
    secrets = ("CARBONAPI_SECRET_KEY", "CARBONAPI_DATABASE_PASSWORD", "CARBONAPI_OWNER_PASSWORD")
    assert [example[name] for name in secrets] == ["", "", ""]


def test_compose_keeps_the_data_and_waits_for_a_database_that_answers() -> None:
    database = COMPOSE["services"]["database"]
    volume, script = database["volumes"]
    name, _, directory = volume.partition(":")

    assert name in COMPOSE["volumes"]
    assert directory == "/var/lib/postgresql", "from 18 on, the image declares its volume there"
    assert script == "./docker/init-database-roles.sh:/docker-entrypoint-initdb.d/carbonapi.sh:ro"
    assert (PROJECT / "docker/init-database-roles.sh").stat().st_mode & 0o111 == 0o111
    assert database["healthcheck"]["test"][1] == "pg_isready"
    assert COMPOSE["services"]["app"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "ports" not in database


def test_of_compose_nothing_has_rights_or_bounds_missing() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"] and "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert service["restart"] == "unless-stopped", name
        assert {"mem_limit", "pids_limit", "stop_grace_period"} <= service.keys(), name
        assert any(folder.startswith("/tmp:") for folder in service["tmpfs"]), name
    assert COMPOSE["services"]["database"]["user"] == "postgres"
    assert COMPOSE["services"]["app"]["ports"] == ["127.0.0.1:8000:8000"]


def unit() -> dict[str, list[str]]:
    """What stands in the unit's section of the service; a name may stand there several times."""
    _, _, section = (PROJECT / "docs/carbonapi.service").read_text().partition("[Service]")
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", section.partition("[Install]")[0], re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_the_unit_has_no_rights_to_gain_and_one_folder_to_write_to() -> None:
    expected = {
        "DynamicUser": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "ReadWritePaths": "/var/lib/carbonapi",
        "StateDirectory": "carbonapi",
        "StateDirectoryMode": "0700",
        "MemoryDenyWriteExecute": "yes",
        "UMask": "0077",
        "Restart": "on-failure",
        "KillMode": "mixed",
    }

    assert {name: unit()[name] for name in expected} == {name: [value] for name, value in expected.items()}
    assert unit()["SystemCallFilter"] == ["@system-service", "~@privileged"]
    assert "Environment" not in unit(), "secrets are for the file that root alone reads"


def test_the_unit_waits_for_requests_in_flight_and_allows_their_connections() -> None:
    drain = re.search(r"^CARBONAPI_DRAIN_SECONDS=(\d+)$", (PROJECT / "docs/how-to/deploy-with-systemd.md").read_text(), re.MULTILINE)

    assert drain is not None
    assert int(unit()["TimeoutStopSec"][0]) >= int(drain[1]) + supervisor.STOP_SECONDS + 10 + 5
    assert int(unit()["LimitNOFILE"][0]) == 2 * supervisor.CONNECTIONS


def test_the_proxy_takes_what_we_take_and_tells_who_asks() -> None:
    nginx = (PROJECT / "docs/nginx.conf").read_text()
    size = re.search(r"client_max_body_size (\d+)m;", nginx)

    assert size is not None
    assert DEFAULTS["IMPORT_MAX_BYTES"] < int(size[1]) * 2**20
    assert "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;" in nginx
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in nginx
    assert re.search(r"location = /metrics \{\s+return 404;", nginx)


def test_the_threat_model_names_tests_that_are_there() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", (PROJECT / "docs/explanation/threat-model.md").read_text()))

    assert len(named) > 15
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_what_runs_from_the_shell_may_be_run() -> None:
    assert (PROJECT / ".ci" / "run").stat().st_mode & 0o111 == 0o111
