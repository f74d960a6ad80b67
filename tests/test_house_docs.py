"""The pages keep their word: links lead somewhere, Python in them compiles, CI runs the command they show."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [page for folder in (".", "docs", "recipes/*", "clip/mini") for page in ROOT.glob(f"{folder}/*.md")]


def broken_links(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [link.partition("#")[0] for link in links if not re.match(r"https?://|mailto:|#", link)]
    return [link for link in local if not (page.parent / link).exists()]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")


def test_control_a_broken_link_is_seen(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("[a](there.md#part) [b](https://example.org/x) [c](not/there.md)")
    assert broken_links(tmp_path / "there.md") == ["not/there.md"]


def test_ci_runs_the_command_of_the_front_page(tmp_path: Path) -> None:
    """A copy of .ci/run beside a front page whose command only speaks."""
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "run"
    script.write_text((ROOT / ".ci" / "run").read_text())
    page = (ROOT / "README.md").read_text()
    assert "<!-- test command -->\n```sh\nsh scripts/test\n```\n" in page
    doctored = page.replace("\nsh scripts/test\n", '\necho "in ${POLYLENS_VENV##*/}"\n')
    (tmp_path / "README.md").write_text(doctored)
    done = subprocess.run(["sh", script], capture_output=True, text=True, cwd="/")
    assert done.stdout == '+ echo "in ${POLYLENS_VENV##*/}"\nin venv\n'
    assert done.returncode == 0

    (tmp_path / "README.md").write_text(page.replace("<!-- test command -->", ""))
    assert subprocess.run(["sh", script], capture_output=True).returncode == 1


def test_ci_fails_when_the_tests_fail(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text((ROOT / ".ci" / "run").read_text())
    (tmp_path / "README.md").write_text("<!-- test command -->\n```sh\nexit 3\n```\n")
    assert subprocess.run(["sh", tmp_path / ".ci" / "run"], capture_output=True).returncode == 3


@pytest.mark.parametrize("script", [".ci/run", "scripts/check", "scripts/test", "scripts/types"])
def test_scripts_are_plain_sh_and_executable(script: str) -> None:
    file = ROOT / script
    assert file.read_text().startswith("#!/bin/sh\n")
    assert file.stat().st_mode & 0o100
    assert subprocess.run(["sh", "-n", file]).returncode == 0
