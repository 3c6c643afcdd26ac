"""What commands print as JSON: one place, so that every command says the same thing alike."""

from typing import Any

from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.ledger import Coverage
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Series
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.ports.store import SeriesInfo, Verified
from zvt_crypto.services.loader import LoadReport, SeriesPlan, SeriesReport


def series_fields(series: Series) -> dict[str, Any]:
    """Return the identity of a series."""
    return {
        "exchange": series.exchange,
        "symbol": series.symbol,
        "kind": str(series.kind),
        "interval": None if series.interval is None else str(series.interval),
    }


def range_fields(asked: Range) -> dict[str, Any]:
    """Return both bounds as RFC 3339; the end is excluded."""
    return {"start": format_us(asked.start), "end": format_us(asked.end)}


def coverage_fields(entry: Coverage) -> dict[str, Any]:
    """Return one range of the ledger."""
    return {
        **range_fields(entry.range),
        "verdict": str(entry.verdict),
        "source": str(entry.source),
        "rows": entry.rows,
    }


def report_fields(report: SeriesReport) -> dict[str, Any]:
    """Return what a load did to one series."""
    fields: dict[str, Any] = {
        **series_fields(report.series),
        **range_fields(report.asked),
        "rows_written": report.rows_written,
        "rows_corrected": report.rows_corrected,
        "rows_rejected": report.rows_rejected,
        "rows_total": report.rows_total,
        "precision_loss": report.precision_loss,
        "requests": report.requests,
        "bytes": report.body_bytes,
        "seconds": round(report.seconds, 3),
        "status": "complete" if report.is_complete else "incomplete",
        "coverage": [coverage_fields(entry) for entry in report.coverage],
    }
    if report.error is not None:
        fields["error"] = {
            "code": report.error.code,
            "message": report.error.message,
            "remedy": report.error.remedy,
        }
    return fields


def load_fields(report: LoadReport) -> dict[str, Any]:
    """Return what a load did."""
    return {
        "series": [report_fields(one) for one in report.series],
        "status": "complete" if report.is_complete else "incomplete",
    }


def plan_fields(plan: SeriesPlan) -> dict[str, Any]:
    """Return what a load of one series would take."""
    return {
        **series_fields(plan.series),
        **range_fields(plan.asked),
        "owed": [range_fields(part) for part in plan.owed],
        "rows": plan.rows,
        "archive_files": plan.archive_files,
        "requests": plan.requests,
        "weight": plan.weight,
        "minutes": round(plan.seconds / 60, 2),
        "bytes": plan.body_bytes,
    }


def info_fields(info: SeriesInfo) -> dict[str, Any]:
    """Return what the store holds of a series."""
    return {
        **series_fields(info.series),
        "rows": info.rows,
        "first": None if info.first_us is None else format_us(info.first_us),
        "last": None if info.last_us is None else format_us(info.last_us),
        "bytes": info.stored_bytes,
    }


def verified_fields(verified: Verified) -> dict[str, Any]:
    """Return what `verify` recomputed and found."""
    return {
        "ranges": verified.ranges,
        "rows": verified.rows,
        "faults": [
            {**series_fields(f.series), **range_fields(Range(f.start, f.end)), "detail": f.detail}
            for f in verified.faults
        ],
        "status": "verified" if not verified.faults else "faulty",
    }


def instrument_fields(one: Instrument) -> dict[str, Any]:
    """Return one instrument with all its spellings."""
    return {
        "exchange": one.exchange,
        "symbol": one.symbol,
        "native": one.native,
        "ccxt": one.ccxt,
        "base": one.base,
        "quote": one.quote,
        "settle": one.settle,
        "market": str(one.market),
        "status": str(one.status),
        "tick_size": one.tick_size,
        "size_step": one.size_step,
        "min_size": one.min_size,
        "min_notional": one.min_notional,
        "contract_size": one.contract_size,
        "listed": None if one.listed_us is None else format_us(one.listed_us),
        "delisted": None if one.delisted_us is None else format_us(one.delisted_us),
    }
