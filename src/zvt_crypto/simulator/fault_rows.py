"""What row faults do to a page, on the rows as the venue wrote them."""

import random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from zvt_crypto.simulator.faults import Fault, chosen
from zvt_crypto.simulator.rows import Layout, Page, select

if TYPE_CHECKING:
    from zvt_crypto.simulator.venue import Reply
    from zvt_crypto.simulator.world import World

_LATE: Final = 7  # seconds an off-grid candle opens late
_BAD: Final = ("high_low", "nan", "negative", "empty")


def apply(world: "World", name: str, faults: list[Fault], reply: "Reply") -> "Reply":
    """Return the reply with its rows spoiled; pages of the same `name` follow each other."""
    page = reply.page
    if page is None:
        return reply
    original = page.split()
    rows = list(original)
    for fault in faults:
        if fault.kind == "repeated_page":
            rows = world.previous_pages.get(name, rows)
        else:
            rows = _spoil(world, fault, page, rows)
    world.previous_pages[name] = original
    if faults:
        reply.head = b"".join((reply.head, b",".join(rows), reply.tail))
        reply.page, reply.tail = None, b""
    return reply


def _spoil(world: "World", fault: Fault, page: Page, rows: list[bytes]) -> list[bytes]:
    chance = random.Random(world.faults.key(fault) ^ fault.fired)  # noqa: S311 - not a secret
    match fault.kind:
        case "truncated_page":
            return rows[: int(len(rows) * fault.number("share", 0.5))]
        case "overlapping_page":
            return _overlap(page, rows, int(fault.number("rows", 3)))
        case "shuffled_page":
            return chance.sample(rows, len(rows))
        case "duplicate_rows":
            share = fault.number("share", 0.1)
            return [row for row in rows for _ in range(1 + (chance.random() < share))]
        case _:
            return _rewrite(world, fault, page, rows)


def _overlap(page: Page, rows: list[bytes], count: int) -> list[bytes]:
    span = page.span()
    if page.series is None or span is None:
        return rows
    series, layout, backwards = page.series, page.layout, page.newest_first
    before = select(series, 0, span[0], count, newest=True)
    after = select(series, span[1] + 1, page.until_us, count, newest=False)
    older = Page(page.kind, before, layout, backwards).split()
    newer = Page(page.kind, after, layout, backwards).split()
    return [*newer, *rows, *older] if backwards else [*older, *rows, *newer]


def _rewrite(world: "World", fault: Fault, page: Page, rows: list[bytes]) -> list[bytes]:
    """Decode the chosen rows, change their numbers, and encode them again."""
    keys = page.keys()
    if page.newest_first:
        keys = keys[::-1]
    default = {"unit_switch": 1.0, "revised_candles": 1.0}.get(fault.kind, 0.05)
    mask = chosen(fault, keys, world.config.seed, default_share=default)
    changed = list(rows)
    for at in mask.nonzero()[0].tolist():
        if at >= len(changed):
            break
        row = msgspec.json.decode(rows[at])
        _change(fault, row, page.layout, int(keys[at]))
        changed[at] = msgspec.json.encode(row)
    return changed


def _change(fault: Fault, row: Any, layout: Layout, key: int) -> None:
    match fault.kind:
        case "unit_switch":
            for place in layout.times:
                row[place] = _shifted(row[place], lambda value: value * 1_000)
        case "off_grid_rows":
            unit = 1 if len(str(row[layout.times[0]])) <= len("1700000000") else 1_000
            for place in layout.times[:1]:
                row[place] = _shifted(row[place], lambda value: value + _LATE * unit)
        case "revised_candles":
            _revise(row, layout)
        case _:
            _ruin(str(fault.params.get("what") or _BAD[key // 60_000_000 % len(_BAD)]), row, layout)


def _shifted(value: Any, change: Any) -> Any:
    return str(change(int(value))) if isinstance(value, str) else change(value)


def _scale(row: Any, place: int | str, factor: float) -> None:
    text = str(row[place])
    decimals = len(text.partition(".")[2])
    row[place] = f"{float(text) * factor:.{decimals}f}"


def _revise(row: Any, layout: Layout) -> None:
    """Change close and volume to what might have been: no rule is broken that could tell."""
    _scale(row, layout.prices[3], 1.001)
    high, close = layout.prices[1], layout.prices[3]
    if float(row[close]) > float(row[high]):
        row[high] = row[close]
    if layout.volume is not None:
        _scale(row, layout.volume, 1.1)


def _ruin(what: str, row: Any, layout: Layout) -> None:
    prices = list(layout.prices)
    if what == "high_low" and len(prices) > 1:
        row[prices[1]], row[prices[2]] = row[prices[2]], str(float(row[prices[1]]) * 1.01)
    elif what == "nan":
        row[prices[-1]] = "NaN"
    elif what == "negative":
        row[prices[0]] = "-" + str(row[prices[0]])
    elif layout.volume is not None:
        row[layout.volume] = ""
    else:
        row[prices[-1]] = ""
