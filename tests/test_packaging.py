"""Installations: the wheel, the lock file, the Docker image, the compose file, and the systemd unit."""

import configparser
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from carbonapi.serving import supervisor
from carbonapi.settings import DEFAULTS
from tests.support.processes import public_folder, wait_until
from tests.support.scale import THOROUGH
from tests.support.servers import free_port

PROJECT = Path(__file__).resolve().parents[1]
LOCK = (PROJECT / "requirements.lock").read_text()
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
SECTIONS = ("the service", "tests and checks", "benchmarks")


def pinned_in(title: str) -> dict[str, set[str]]:
    """Return the versions of each package in a section of the lock file: two, if platforms differ."""
    _, _, rest = LOCK.partition(f"\n# ==== {title} ====\n")
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", rest.partition("\n# ====")[0], re.MULTILINE):
        versions.setdefault(name, set()).add(version)
    return versions


def required_by(section: str, option: str) -> list[Requirement]:
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    return [Requirement(line) for line in setup[section][option].splitlines() if line]


@pytest.mark.parametrize(
    ("title", "requirements"),
    [
        ("the service", required_by("options", "install_requires")),
        ("tests and checks", required_by("options.extras_require", "test")),
        ("benchmarks", required_by("options.extras_require", "bench")),
    ],
    ids=SECTIONS,
)
def test_lock_file_pins_the_requirements(title: str, requirements: list[Requirement]) -> None:
    sections = SECTIONS[: SECTIONS.index(title) + 1]
    pinned = {name: versions for section in sections for name, versions in pinned_in(section).items()}

    for requirement in requirements:
        versions = pinned[canonicalize_name(requirement.name)]
        assert all(version in requirement.specifier for version in versions), requirement


def test_lock_file_lists_each_package_once() -> None:
    names = [name for title in SECTIONS for name in pinned_in(title)]

    assert len(names) == len(set(names))


def test_lock_file_has_only_versions_and_hashes() -> None:
    package = r"[a-z0-9-]+==[\w.]+( ; [\w .'()<>=!]+)? \\\n(    --hash=sha256:[0-9a-f]{64} \\\n)*"
    last_hash = r"    --hash=sha256:[0-9a-f]{64}\n"

    assert re.fullmatch(f"(#.*\n|\n|{package}{last_hash})+", LOCK)


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile"])
def test_lock_file_is_cut_at_a_section(file: str) -> None:
    cuts = re.findall(r"sed '/\^(# ==== [^/]+)/,", (PROJECT / file).read_text())

    assert cuts
    for cut in cuts:
        assert f"\n{cut} ====\n" in LOCK


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the repository, since building leaves files behind. Return its path."""
    folder = tmp_path_factory.mktemp("wheel")
    without_caches = shutil.ignore_patterns("__pycache__")
    for name in ("carbonapi", "migrations"):
        shutil.copytree(PROJECT / name, folder / "source" / name, ignore=without_caches)
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "setup.py"):
        shutil.copy(PROJECT / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", folder, folder / "source"], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    expected = {
        str(prefix / path.relative_to(PROJECT))
        for folder, prefix in (("carbonapi", Path()), ("migrations", Path("carbonapi")))
        for path in (PROJECT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name} == expected


def link_package(name: str, folder: Path) -> None:
    """Link an installed package into a folder of packages. Do nothing if the platform does not need it."""
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return
    for top in {file.parts[0] for file in installed.files or () if file.parts[0] not in ("..", "__pycache__")}:
        if not (folder / top).exists():
            (folder / top).symlink_to(Path(str(installed.locate_file(top))).resolve())


def test_installed_service_serves_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    programs = tmp_path / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(programs / "python")]

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    install = [*pip, "install", "--quiet", "--no-compile", "--no-deps"]
    if THOROUGH:
        section = tmp_path / "service.lock"
        section.write_text(LOCK.partition("\n# ==== tests and checks")[0])
        subprocess.run([*install, "--require-hashes", "-r", str(section)], check=True)
    else:  # Downloading and unpacking the packages takes longer than the rest of the test.
        (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
        for name in pinned_in("the service"):
            link_package(name, packages)
    subprocess.run([*install, str(wheel)], check=True)
    subprocess.run([*pip, "check"], check=True)
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CARBONAPI_", "PYTHON"))}

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready"):
                return True
        except OSError:
            assert process.poll() is None
            return False

    with public_folder() as folder:
        command = [programs / "carbonapi", "serve", "--port", str(port), "--workers", "1"]
        with subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL) as process:
            try:
                wait_until(is_ready, 120)
                assert [path.name for path in folder.iterdir()] == [".carbonapi"]
            finally:
                process.send_signal(signal.SIGTERM)
        assert process.returncode == 0


def test_image_runs_as_an_unprivileged_account() -> None:
    instructions = [line.split(None, 1) for line in DOCKERFILE.splitlines() if line[:1].isupper()]
    accounts = [argument for instruction, argument in instructions if instruction == "USER"]

    assert accounts == ["10001:10001"]
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nCMD ")


def test_images_are_pinned_by_tag() -> None:
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) + [COMPOSE["services"]["database"]["image"]]

    for image in images:
        assert re.fullmatch(r"\w+:\d[\w.-]*", image), image


def test_image_has_the_programs_for_backups() -> None:
    cut = re.search(r"sed '/\^(# ==== [^/]+)/,\$d' requirements.lock", DOCKERFILE)

    assert cut is not None
    assert "\nembedded-postgres==" in LOCK.partition(cut[1])[0]


def test_image_is_healthy_when_the_service_is_ready() -> None:
    assert "/health/ready" in DOCKERFILE.partition("\nHEALTHCHECK ")[2].partition("\nCMD ")[0]


def test_compose_requires_every_secret() -> None:
    app = COMPOSE["services"]["app"]["environment"]
    database = COMPOSE["services"]["database"]["environment"]

    assert app["CARBONAPI_SECRET_KEY"].startswith("${CARBONAPI_SECRET_KEY:?")
    assert app["CARBONAPI_DATABASE_URL"].startswith("postgresql://carbonapi_app:${CARBONAPI_DATABASE_PASSWORD:?")
    assert app["CARBONAPI_MIGRATION_DATABASE_URL"].startswith("postgresql://carbonapi:${CARBONAPI_OWNER_PASSWORD:?")
    assert database["POSTGRES_PASSWORD"].startswith("${CARBONAPI_OWNER_PASSWORD:?")
    assert database["CARBONAPI_DATABASE_PASSWORD"].startswith("${CARBONAPI_DATABASE_PASSWORD:?")


def test_env_example_lists_the_variables_of_compose() -> None:
    example = dict(re.findall(r"^(\w+)=(.*)$", (PROJECT / ".env.example").read_text(), re.MULTILINE))
    used = set(re.findall(r"\$\{(\w+)", (PROJECT / "docker-compose.yml").read_text()))

    assert example.keys() == used
    secrets = ("CARBONAPI_SECRET_KEY", "CARBONAPI_DATABASE_PASSWORD", "CARBONAPI_OWNER_PASSWORD")
    assert [example[name] for name in secrets] == ["", "", ""]


def test_compose_stores_data_and_waits_for_the_database() -> None:
    database = COMPOSE["services"]["database"]
    volume, script = database["volumes"]
    name, _, directory = volume.partition(":")

    assert name in COMPOSE["volumes"]
    assert directory == "/var/lib/postgresql", "the volume of the image since version 18"
    assert script == "./docker/init-database-roles.sh:/docker-entrypoint-initdb.d/carbonapi.sh:ro"
    assert (PROJECT / "docker/init-database-roles.sh").stat().st_mode & 0o111 == 0o111
    assert database["healthcheck"]["test"][1] == "pg_isready"
    assert COMPOSE["services"]["app"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "ports" not in database


def test_compose_services_are_restricted() -> None:
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
    """Return the [Service] section of the systemd unit. A name can have several values."""
    _, _, section = (PROJECT / "docs/carbonapi.service").read_text().partition("[Service]")
    values: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", section.partition("[Install]")[0], re.MULTILINE):
        values.setdefault(name, []).append(value)
    return values


def test_unit_is_restricted() -> None:
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
    assert "Environment" not in unit(), "secrets belong into a file that only root can read"


def test_unit_fits_the_limits_of_the_service() -> None:
    drain = re.search(
        r"^CARBONAPI_DRAIN_SECONDS=(\d+)$", (PROJECT / "docs/how-to/deploy-with-systemd.md").read_text(), re.MULTILINE
    )

    assert drain is not None
    assert int(unit()["TimeoutStopSec"][0]) >= int(drain[1]) + supervisor.STOP_SECONDS + 10 + 5
    assert int(unit()["LimitNOFILE"][0]) == 2 * supervisor.CONNECTIONS


def test_proxy_fits_the_limits_of_the_service() -> None:
    nginx = (PROJECT / "docs/nginx.conf").read_text()
    size = re.search(r"client_max_body_size (\d+)m;", nginx)

    assert size is not None
    assert DEFAULTS["IMPORT_MAX_BYTES"] < int(size[1]) * 2**20
    assert "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;" in nginx
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in nginx
    assert re.search(r"location = /metrics \{\s+return 404;", nginx)


def test_threat_model_refers_to_existing_tests() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", (PROJECT / "docs/explanation/threat-model.md").read_text()))

    assert len(named) > 15
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_ci_script_is_executable() -> None:
    assert (PROJECT / ".ci" / "run").stat().st_mode & 0o111 == 0o111
