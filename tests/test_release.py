"""What a release is made of."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import widthwise as ww

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))


def test_citation_is_of_this_version() -> None:
    """CITATION.cff names the version, the licence and the title of the package."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ww.__version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["title"].lower() == PROJECT["project"]["name"]


def test_changelog_speaks_of_this_version() -> None:
    """The first version in the changelog is the one that would be released."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\S+)", changelog, re.MULTILINE)
    assert versions[0] == ww.__version__


def test_only_what_was_tried_is_published() -> None:
    """The job that publishes waits for the tests and the tried wheel, and has no password."""
    jobs = WORKFLOW["jobs"]
    publish = jobs["publish"]
    assert set(publish["needs"]) == {"test", "wheel"}
    assert jobs["wheel"]["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets" not in (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")


def test_release_runs_what_contributors_run() -> None:
    """Every `make` target of the workflow is one of the Makefile."""
    steps = [step.get("run", "") for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    wanted = {target for run in steps for target in re.findall(r"\bmake ([\w-]+)", run)}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert wanted == {"docs", "dist"}
    assert all(re.search(rf"^{target}: .*## ", makefile, re.MULTILINE) for target in wanted)


def test_source_distribution_names_files_that_exist() -> None:
    """Each pattern of the source distribution matches something."""
    patterns = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [each for each in patterns if not list(ROOT.glob(each))] == []
