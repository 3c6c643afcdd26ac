"""What the documents refer to exists: tests, commands, verbs, columns and words of the ledger."""

import re
from pathlib import Path

import pytest
import typer.main

from zvt_crypto.cli.main import app_for
from zvt_crypto.core.instrument import Status
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.reconcile import Agreement
from zvt_crypto.core.schema import CORRECTIONS, QUARANTINE, RECONCILIATIONS, SCHEMAS
from zvt_crypto.core.validation import Reason
from zvt_crypto.settings import KEYS

ROOT = Path(__file__).resolve().parents[2]
EXCHANGES = ("binance", "okx", "bybit", "coinbase")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_words(text: str) -> set[str]:
    """Return what stands in backticks, as words."""
    return set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", text))))


def shown(tool: str, document: Path) -> set[str]:
    """Return the first word after a tool's name, where it starts code or stands after a prompt."""
    text = document.read_text(encoding="utf-8")
    return set(re.findall(rf"(?:^|`|\$ ){tool} ([a-z][a-z0-9]*)", text, re.MULTILINE))


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_every_trap_names_a_test_that_exists(exchange: str) -> None:
    named = re.findall(r"`([\w/]+): (test_\w+)`", text_of(f"docs/exchanges/{exchange}.md"))

    assert len(named) > 15
    for file, test in named:
        place = f"{file}.py" if "/" in file else f"unit/connectors/{exchange}/{file}.py"
        assert f"def {test}(" in text_of(f"tests/{place}"), f"{file}: {test}"


def test_the_data_dictionary_names_every_column_and_every_word() -> None:
    words = code_words(text_of("docs/data-dictionary.md"))

    tables = (*SCHEMAS.values(), QUARANTINE, CORRECTIONS, RECONCILIATIONS)
    assert {name for schema in tables for name in schema.names} <= words
    assert {
        str(word) for kind in (Agreement, Verdict, Source, Reason, Status) for word in kind
    } <= words


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.relative_to(ROOT).as_posix())
def test_no_document_shows_a_command_or_a_verb_that_does_not_exist(document: Path) -> None:
    group = typer.main.get_command(app_for())
    verbs = set(re.findall(r"^([a-z0-9]+):", text_of("Makefile"), re.MULTILINE))

    assert shown("zvtc", document) <= set(getattr(group, "commands", ()))
    assert shown("make", document) <= verbs


def test_contributing_explains_every_verb() -> None:
    verbs = set(re.findall(r"^([a-z0-9]+):.*## ", text_of("Makefile"), re.MULTILINE)) - {"help"}

    told = text_of("CONTRIBUTING.md")

    assert {verb for verb in verbs if f"`{verb}`" in told or f"make {verb}" in told} == verbs


def test_the_readme_lists_no_setting_that_does_not_exist() -> None:
    known = {re.sub(r"^exchanges\.\w+\.", "exchanges.<name>.", key) for key in KEYS}

    listed = re.findall(
        r"^\| `([a-z_.<>]+)` \|.*`[A-Z_.<>]+` \|", text_of("README.md"), re.MULTILINE
    )

    assert listed
    assert {re.sub("<exchange>", "<name>", key) for key in listed} <= known


def test_every_decision_is_listed() -> None:
    listed = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", text_of("docs/adr/README.md")))

    there = {page.name for page in (ROOT / "docs/adr").glob("0*.md")}
    assert listed | {"0000-template.md"} == there
