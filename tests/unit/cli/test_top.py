"""What `top` shows first, and what it calls trouble."""

from typing import Any

from rich.console import Console

from zvt_crypto.cli.top import picture, troubles, worst_first


def series(symbol: str, verdict: str = "live", **more: Any) -> dict[str, Any]:
    return {
        "exchange": "binance", "symbol": symbol, "kind": "trades", "interval": None,
        "verdict": verdict, "messages": 10, "messages_per_s": 2.0,
        "latency_ms": {"p50": 1.5, "p99": None}, "last_record": "2026-11-22T10:15:02.1Z",
        "gaps": {"open": 0, "repaired": 0, "unrecoverable": 0, **more.pop("gaps", {})},
        "stale": 0, "resets": 0, "dropped_rows": 0, "pending_rows": 0, **more,
    }  # fmt: skip


def process(*told: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "pid": 7, "host": "here", "command": "stream", "stage": "live", "age_s": 0.3,
        "started": "2026-11-22T10:00:00Z", "series": list(told), "connections": [], "handlers": [],
        "sink": {"failing": "", "pending_rows": 0}, "journal": None,
        "totals": {"messages_per_s": 2.0, "rows_stored": 5, "gaps_open": 0, "gaps_repaired": 0,
                   "gaps_unrecoverable": 0, "reconnects": 0}, **more,
    }  # fmt: skip


def shown(*found: dict[str, Any]) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(picture(found))
    return capture.get()


def test_the_worst_series_comes_first() -> None:
    told = [
        series("LIVE"),
        series("BUSY", messages_per_s=99.0),
        series("QUIET", "quiet"),
        series("LOST", gaps={"unrecoverable": 2}),
        series("OPEN", gaps={"open": 1}),
        series("REPAIRING", "repairing"),
        series("STALE", "stale"),
        series("DEAD", "dead"),
    ]

    order = [one["symbol"] for one in worst_first(told)]

    assert order == ["DEAD", "STALE", "REPAIRING", "QUIET", "OPEN", "LOST", "BUSY", "LIVE"]


def test_a_frame_shows_each_series_in_a_line() -> None:
    text = shown(process(series("BTC-USDT", gaps={"repaired": 3}), series("ETH-USDT", "dead")))

    head, columns, first, second = text.splitlines()
    assert "zvtc stream" in head
    assert "pid 7" in head
    assert columns.split()[:4] == ["exchange", "symbol", "kind", "verdict"]
    assert first.split()[:4] == ["binance", "ETH-USDT", "trades", "dead"]
    assert second.split() == [
        "binance", "BTC-USDT", "trades", "live", "2.0", "1.5", "-", "10:15:02", "0", "3", "0", "0",
    ]  # fmt: skip


def test_a_process_that_hangs_is_said_to_be_silent() -> None:
    assert "silent for 42 s" in shown(process(series("BTC-USDT"), age_s=42.0))


def test_a_load_of_history_shows_how_far_it_is() -> None:
    loading = [{"series": "binance BTC-USDT trades", "state": "rest", "fraction": 0.5, "rows": 9}]

    text = shown(process(stage="history", command="sync", loading=loading))

    assert "loading history" in text
    assert "binance BTC-USDT trades  rest  50%  9" in text


def test_a_share_is_told_and_trouble_with_it() -> None:
    share = {"group": "all", "members": 3, "units": 8, "held": 2, "failing": ""}

    text = shown(process(series("BTC-USDT"), share=share))
    assert "2 of 8 symbols, shared by 3 in group all" in " ".join(text.split())
    assert troubles(process(share=share)) == []
    assert troubles(process(share={**share, "failing": "the store is busy"})) == [
        "sharing stands still: the store is busy"
    ]


def test_troubles_are_told_line_by_line() -> None:
    one = process(
        sink={"failing": "no space left", "pending_rows": 9},
        journal={"trouble": "disk full", "dropped": 3},
        handlers=[{"handler": "slow", "is_full": True, "dropped": 4, "failed": 0}],
        connections=[{"connection": "okx-1", "is_open": False, "detail": "refused"}],
    )

    assert troubles(process()) == []
    assert troubles(one) == [
        "the store takes no rows: no space left",
        "the journal takes no frames: disk full",
        "the journal dropped 3 frames",
        "handler slow is too slow: sockets wait for it",
        "handler slow: 4 records dropped, 0 failed",
        "okx-1 is not connected: refused",
    ]
