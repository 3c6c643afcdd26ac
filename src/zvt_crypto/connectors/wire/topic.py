"""What the stream protocols of all exchanges share: hosts, and topics in batches. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from zvt_crypto.core.errors import NotSupported
from zvt_crypto.core.series import Kind


def host_urls(
    hosts: Mapping[str, Sequence[str]], overrides: Mapping[str, str], name: str, path: str
) -> tuple[str, ...]:
    """Return the addresses of `path` on a host, best first; an override stands alone."""
    found = (overrides[name],) if name in overrides else hosts[name]
    return tuple(f"{host.rstrip('/')}{path}" for host in found)


def checked_hosts(
    exchange: str, hosts: Mapping[str, Sequence[str]], overrides: Mapping[str, str] | None
) -> dict[str, str]:
    """Return the addresses that replace an exchange's own, by the names of its hosts.

    Raises:
        NotSupported: it has no host of such a name; the error lists those it has.
    """
    for name in overrides or {}:
        if name not in hosts:
            raise NotSupported(exchange, f"host {name!r}", f"it has {', '.join(hosts)}")
    return dict(overrides or {})


def batches(
    topics: Sequence[str], most: int, most_bytes: int = 1 << 30, extra_bytes: int = 0
) -> Iterator[tuple[str, ...]]:
    """Yield topics, each once and in order, at most so many and so many bytes at a time.

    Args:
        topics: native topics.
        most: how many one message may name.
        most_bytes: how long their names may be together, in UTF-8.
        extra_bytes: what each topic adds to its name in the message.
    """
    batch: list[str] = []
    size = 0
    for topic in dict.fromkeys(topics):
        cost = len(topic.encode()) + extra_bytes
        if batch and (len(batch) == most or size + cost > most_bytes):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(topic)
        size += cost
    if batch:
        yield tuple(batch)


def check_streamed(exchange: str, kind: Kind) -> None:
    """Refuse the kinds a book is kept as: they are made of its stream.

    Raises:
        NotSupported: it is one of them.
    """
    if kind in (Kind.BOOK_SNAPSHOTS, Kind.BOOK_DELTAS):
        raise NotSupported(
            exchange,
            f"stream of {kind}",
            "they are made of the stream of the book",
            remedy="Stream `book`, with keep_books if it is to be stored",
        )


def check_route(exchange: str, route: str, routes: Sequence[str]) -> None:
    """Check that an exchange has a route.

    Raises:
        NotSupported: it has none of that name; the error lists those it has.
    """
    if route not in routes:
        raise NotSupported(exchange, f"route {route!r}", f"it has {', '.join(routes)}")
