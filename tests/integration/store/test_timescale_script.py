"""Migrations written down for somebody else to run: what comes of it is what `migrate` makes."""

from collections.abc import Callable

import psycopg
import pytest
from postgres_shape import shape_of
from psycopg import sql

from zvt_crypto.core.errors import BadStore
from zvt_crypto.store.timescale import TimescaleStore
from zvt_crypto.store.timescale.place import parse_place
from zvt_crypto.store.timescale.schema import current, migrate, revisions, script

Url = Callable[[], str]


@pytest.fixture(params=["postgres", "timescale"])
def new_url(request: pytest.FixtureRequest) -> Url:
    return request.getfixturevalue(f"{request.param}_url")


def run(url: str, statements: str) -> None:
    """Run a script as it is, over a connection that knows nothing of the store."""
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        connection.execute(statements.encode())


async def test_a_script_makes_the_store_that_migrate_makes(new_url: Url) -> None:
    # given a store made in the usual way, and a script for an empty database
    usual, by_hand = new_url(), new_url()
    migrate(parse_place(usual))
    written = script(parse_place(by_hand))
    assert current(parse_place(by_hand)) is None

    # when somebody runs it
    run(by_hand, written)

    # then both are the same, and it opens; a second run changes nothing
    assert shape_of(by_hand) == shape_of(usual)
    await (await TimescaleStore.open(by_hand, create=False)).close()
    with pytest.raises(psycopg.errors.DuplicateTable):
        run(by_hand, written)
    assert shape_of(by_hand) == shape_of(usual)


@pytest.mark.parametrize("since", ["base", *revisions()[:-1]])
def test_scripts_lead_from_any_revision_to_the_head_and_back(new_url: Url, since: str) -> None:
    # given two stores at a revision
    usual, by_hand = new_url(), new_url()
    for url in (usual, by_hand):
        migrate(parse_place(url))
        migrate(parse_place(url), since)
    early = shape_of(usual)

    # when one is brought up and back by scripts
    run(by_hand, script(parse_place(by_hand)))
    migrate(parse_place(usual))
    assert shape_of(by_hand) == shape_of(usual)
    run(by_hand, script(parse_place(by_hand), since))

    # then it is what it was
    assert shape_of(by_hand) == early


def test_a_script_refuses_another_revision_than_it_was_written_for(new_url: Url) -> None:
    url = new_url()
    first, second, last = (*revisions()[:2], revisions()[-1])
    migrate(parse_place(url), first)
    written = script(parse_place(url))
    migrate(parse_place(url), second)
    before = shape_of(url)

    with pytest.raises(psycopg.errors.RaiseException, match=f"for schema {first} alone"):
        run(url, written)

    assert shape_of(url) == before
    migrate(parse_place(url))
    assert script(parse_place(url)) == f"-- schema {last}: nothing to do\n"
    with pytest.raises(BadStore, match="no revision '0815'"):
        script(parse_place(url), "0815")


def test_a_script_is_printed_for_who_may_read_only(postgres_url: Url) -> None:
    # given a user with no right but to connect
    url = postgres_url()
    user = f"reader_{parse_place(url).schema}"
    run(url, f"CREATE ROLE {user} LOGIN PASSWORD 'x'")
    try:
        mine = url.replace(url.partition("//")[2].partition("@")[0], f"{user}:x")
        with pytest.raises(BadStore, match="lacks a right"):
            migrate(parse_place(mine))
        # when it asks for the script, and an administrator runs that
        run(url, script(parse_place(mine)))
        # then the store is there
        assert current(parse_place(url)) == revisions()[-1]
    finally:
        drop = sql.SQL("DROP ROLE {}").format(sql.Identifier(user))
        with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
            connection.execute(drop)
