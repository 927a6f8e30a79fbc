"""Write requirements.lock: every package that setup.cfg requires, its version, and the hashes of its files.

The versions are the newest that setup.cfg allows and that have wheels for each platform below, so installing never
compiles. The file has three sections. Each lists only the packages that the sections before it lack, so an installation
cuts the file after the section that it needs.
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
# Every package that carbonapi needs, with its version and the hashes of its files. Made from setup.cfg by `make lock`.
# For Linux and macOS, x86_64 and arm64, Python 3.11 to 3.14. Install it with pip --require-hashes, up to the section
# that you need: each of the three lists only the packages that the sections before it lack.
"""


def main() -> None:
    """Resolve all requirements at once, so that the sections agree, then assign each package to its section."""
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    service = setup["options"]["install_requires"].split("\n")
    tests = setup["options.extras_require"]["test"].split("\n")
    benchmarks = setup["options.extras_require"]["bench"].split("\n")

    everything = resolve(service + tests + benchmarks)
    lines = HEADER
    written: set[str] = set()
    for title, requirements in (
        ("the service", service),
        ("tests and checks", service + tests),
        ("benchmarks", service + tests + benchmarks),
    ):
        lines += f"\n# ==== {title} ====\n"
        names = entries_by_name(resolve(requirements, constraints=everything)).keys() - written
        lines += "".join(entry for name, entry in entries_by_name(everything).items() if name in names)
        written |= names
    (PROJECT / "requirements.lock").write_text(lines, encoding="utf-8")


def resolve(requirements: list[str], constraints: str = "") -> str:
    """Return the packages that meet the requirements, in the format of pip's requirements with hashes."""
    with tempfile.TemporaryDirectory() as directory:
        # uv reads platforms from this file only.
        Path(directory, "pyproject.toml").write_text(PLATFORMS, encoding="utf-8")
        Path(directory, "constraints.txt").write_text(constraints, encoding="utf-8")
        command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--constraints", "constraints.txt"]
        options = ["--universal", "--python-version", OLDEST_PYTHON, "--no-build", "--generate-hashes"]
        appearance = ["--no-header", "--no-annotate", "--quiet"]
        compiled = subprocess.run(
            [*command, *options, *appearance],
            cwd=directory,
            input="\n".join(requirements),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    # A marker that holds for every platform of the file would only repeat itself at each package.
    everywhere = f" ; {PYTHON} and (sys_platform == 'darwin' or sys_platform == 'linux')"
    return compiled.stdout.replace(everywhere, "")


def entries_by_name(packages: str) -> dict[str, str]:
    """Return the lines of each package: its version and hashes. Some packages have two versions, by platform."""
    entries: dict[str, str] = {}
    for entry in re.split(r"\n(?=\w)", packages.strip()):
        name = entry.partition("==")[0]
        entries[name] = entries.get(name, "") + entry + "\n"
    return entries


if __name__ == "__main__":
    main()
