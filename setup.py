"""Add the migrations to the package, which setup.cfg describes: they are a folder of their own in the repository."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["carbonapi", "carbonapi.*"]),
        "carbonapi.migrations",
        "carbonapi.migrations.versions",
    ],
    package_dir={"carbonapi.migrations": "migrations"},
)
