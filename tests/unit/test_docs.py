"""The documents name everything a user can meet, and lead nowhere that does not exist."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer.main

import zvt_crypto
from zvt_crypto.cli.main import app_for
from zvt_crypto.core.errors import CryptoError
from zvt_crypto.settings import KEYS, env_name
from zvt_crypto.simulator.faults import KINDS

ROOT = Path(__file__).resolve().parents[2]
EXCHANGE = re.compile(r"^exchanges\.\w+\.")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

# Hosts of package indexes, spelled so that this file does not contain them.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("test", "pypi", "org"),
        ("registry", "npmjs", "org"),
        ("conda", "anaconda", "org"),
    )
)
INDEX_OPTION = re.compile(r"--(?:extra-)?index-url|--trusted-host|^\s*index-url\s*=", re.MULTILINE)
MACHINE_PATH = re.compile(
    r"(?<![\w.$}~/])/(?:root|work|workspace|Users|home)/(?!someone|user)[\w.-]+"
)


@cache
def tracked() -> list[Path]:
    """Return the files git knows, or all but built ones where this is no checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        files = [ROOT / name for name in listed.stdout.split("\0") if name]
        return [file for file in files if file.is_file()]
    found = ["src", "tests", "docs"]
    return [*ROOT.glob("*.*"), *(f for d in found for f in (ROOT / d).rglob("*") if f.is_file())]


@cache
def documents() -> list[Path]:
    # The folder and not git: a page must hold before it is committed.
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@cache
def prose() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in documents())


def commands(group: object, path: str = "zvtc") -> Iterator[str]:
    """Yield the full name of every command that does something."""
    below = getattr(group, "commands", None)
    if below is None:
        yield path
        return
    for name, command in below.items():
        yield from commands(command, f"{path} {name}")


def errors(base: type[CryptoError] = CryptoError) -> Iterator[type[CryptoError]]:
    yield base
    for below in base.__subclasses__():
        if below.__module__ == base.__module__:
            yield from errors(below)


def test_every_command_is_shown() -> None:
    names = [name.removeprefix("zvtc ") for name in commands(typer.main.get_command(app_for()))]

    assert len(names) > 10
    missing = [n for n in names if f"`{n}`" not in prose() and f"zvtc {n}" not in prose()]
    assert missing == []


@pytest.mark.parametrize("key", sorted({EXCHANGE.sub("exchanges.<name>.", k) for k in KEYS}))
def test_every_setting_is_explained_in_the_readme(key: str) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| `{re.escape(key)}` \|(.*)$", text, re.MULTILINE)

    assert rows
    if "<name>" not in key:
        assert any(f"`{env_name(key)}`" in row for row in rows)


@pytest.mark.parametrize("code", sorted({one.code for one in errors()}))
def test_every_error_code_is_in_the_runbook(code: str) -> None:
    assert f"`{code}`" in (ROOT / "docs/runbooks/errors.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(zvt_crypto.__all__))
def test_every_public_name_is_told(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/python.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_fault_of_the_simulator_is_told(kind: str) -> None:
    assert f"`{kind}`" in (ROOT / "docs/simulator.md").read_text(encoding="utf-8")


def test_relative_links_resolve() -> None:
    broken: list[str] = []
    for page in documents():
        for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
            if not target.startswith(("http://", "https://", "mailto:")):
                place = page.parent / target
                if not place.exists():
                    broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_no_tracked_text_names_a_package_registry_or_a_path_of_a_machine() -> None:
    found: list[str] = []
    for file in tracked():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if file == Path(__file__).resolve():
            continue
        hits = [host for host in REGISTRIES if host in text]
        hits += INDEX_OPTION.findall(text) + MACHINE_PATH.findall(text)
        found += [f"{file.relative_to(ROOT)}: {hit}" for hit in hits]
    assert found == []
