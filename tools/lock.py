"""Write requirements.lock: every package the project needs, its exact version and the hashes of its files.

The versions are the newest that setup.cfg allows and that have wheels for each platform below, so that installing never
compiles. The file has four sections, each naming only what the ones before it lack: an installation cuts it after the
section that it needs.
"""

import configparser
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = "3.11"
PYTHON = "python_full_version < '3.15' and platform_python_implementation == 'CPython'"
PLATFORMS = f"""
[tool.uv]
environments = ["sys_platform == 'darwin' and {PYTHON}", "sys_platform == 'linux' and {PYTHON}"]
required-environments = [
    "sys_platform == 'darwin' and platform_machine == 'arm64'",
    "sys_platform == 'darwin' and platform_machine == 'x86_64'",
    "sys_platform == 'linux' and platform_machine == 'aarch64'",
    "sys_platform == 'linux' and platform_machine == 'x86_64'",
]
"""
HEADER = """\
# Every package that carbonapi needs, at one version, with the hashes of its files: made from setup.cfg by `make lock`.
# For Linux and macOS, x86_64 and arm64, Python 3.11 to 3.14. Install it with pip --require-hashes, up to the section
# that is needed: each of the four lists what the ones before it lack.
"""


def main() -> None:
    """Resolve everything at once, so that the sections agree, then deal the packages out to the sections."""
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    service = setup["options"]["install_requires"].split("\n")
    embedded = setup["options.extras_require"]["embedded"].split("\n")
    tests = setup["options.extras_require"]["test"].split("\n")
    benchmarks = setup["options.extras_require"]["bench"].split("\n")

    everything = resolved(service + embedded + tests + benchmarks)
    lines = HEADER
    written: set[str] = set()
    for title, requirements in (
        ("the service", service),
        ("embedded PostgreSQL", service + embedded),
        ("tests and checks", service + embedded + tests),
        ("benchmarks", service + embedded + tests + benchmarks),
    ):
        lines += f"\n# ==== {title} ====\n"
        names = entries(resolved(requirements, constraints=everything)).keys() - written
        lines += "".join(entry for name, entry in entries(everything).items() if name in names)
        written |= names
    (PROJECT / "requirements.lock").write_text(lines, encoding="utf-8")


def resolved(requirements: list[str], constraints: str = "") -> str:
    """The packages that the requirements amount to, as pip's requirements with hashes."""
    with tempfile.TemporaryDirectory() as directory:
        # The only file that uv reads platforms from.
        Path(directory, "pyproject.toml").write_text(PLATFORMS, encoding="utf-8")
        Path(directory, "constraints.txt").write_text(constraints, encoding="utf-8")
        command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--constraints", "constraints.txt"]
        options = ["--universal", "--python-version", OLDEST_PYTHON, "--no-build", "--generate-hashes"]
        appearance = ["--no-header", "--no-annotate", "--quiet"]
        answer = subprocess.run(
            [*command, *options, *appearance],
            cwd=directory,
            input="\n".join(requirements),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    # What holds for every platform of the lock file needs no saying at each package.
    everywhere = f" ; {PYTHON} and (sys_platform == 'darwin' or sys_platform == 'linux')"
    return answer.stdout.replace(everywhere, "")


def entries(packages: str) -> dict[str, str]:
    """Name and text of each package: a line for the version and one for each hash. Some have two, by platform."""
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\w)", packages.strip()):
        name = entry.partition("==")[0]
        found[name] = found.get(name, "") + entry + "\n"
    return found


if __name__ == "__main__":
    main()
