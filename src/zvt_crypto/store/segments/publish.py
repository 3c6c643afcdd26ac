"""Segments shown to other engines as Delta or Iceberg tables, without copying a row.

One table a kind: `p_exchange`, `p_symbol` and, for candles, `p_interval` are its partitions, whose
values come from the manifest and not from inside the files. Publishing again brings a table up to
date. Segments that were replaced since are vacuumed after a day; a table has to be published
again before that.
"""

import importlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import msgspec
import pyarrow as pa

from zvt_crypto.core.errors import MissingExtra, UsageError
from zvt_crypto.core.schema import KNOWN, LATECOMERS, SCHEMAS
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import Published, TableFormat
from zvt_crypto.store.segments.segment import Segment
from zvt_crypto.store.segments.storage import Storage

_NAMESPACE: Final = "zvt_crypto"


class Member(msgspec.Struct, frozen=True):
    """A live segment and the series it belongs to."""

    series: Series
    segment: Segment

    @property
    def partition(self) -> dict[str, str]:
        """Return the names of its folders, which are columns of the table."""
        values = {"p_exchange": self.series.exchange, "p_symbol": self.series.symbol}
        if self.series.interval is not None:
            values["p_interval"] = self.series.interval.value
        return values


def publish(
    members: Sequence[Member], storage: Storage, form: TableFormat, target: str | Path | None
) -> list[Published]:
    """Make or refresh one table for each kind that has segments.

    Raises:
        MissingExtra: the format's library is not installed.
        UsageError: a Delta table was asked for elsewhere than beside its files.
    """
    kinds: dict[Kind, list[Member]] = {}
    for member in members:
        kinds.setdefault(member.series.kind, []).append(member)
    if form == "delta":
        if target is not None:
            raise UsageError(
                "a Delta table lies beside its files and cannot be put elsewhere",
                remedy="Leave the target out",
            )
        return [_delta(storage, kind, members) for kind, members in kinds.items()]
    if target is None:
        raise UsageError(
            "an Iceberg table needs a folder for its catalog", remedy="Name one as the target"
        )
    return _iceberg(storage, Path(target), kinds)


def _partitions(kind: Kind) -> list[str]:
    names = ["p_exchange", "p_symbol"]
    return [*names, "p_interval"] if kind is Kind.CANDLES else names


def _schema(kind: Kind, *extra: pa.Field) -> pa.Schema:
    partitions = [pa.field(name, pa.string()) for name in _partitions(kind)]
    # Files written before a column was there lack it.
    late = LATECOMERS.get(kind, ())
    columns = [f.with_nullable(True) if f.name in late else f for f in SCHEMAS[kind]]  # noqa: FBT003
    return pa.schema([*partitions, *columns, *extra])


def _delta(storage: Storage, kind: Kind, members: Sequence[Member]) -> Published:
    delta, transaction = _load("deltalake", "delta"), _load("deltalake.transaction", "delta")
    base = f"segments/{kind}"
    url = f"{storage.url}/{base}"
    schema = delta.Schema.from_arrow(_schema(kind))
    wanted = {member.segment.path.removeprefix(f"{base}/"): member for member in members}
    options = _delta_options(url)
    names = _partitions(kind)
    now = int(time.time() * 1_000)
    added = [
        transaction.AddAction(
            path=path,
            size=member.segment.bytes,
            partition_values=member.partition,
            modification_time=now,
            data_change=True,
            stats=json.dumps({"numRecords": member.segment.rows}),
        )
        for path, member in wanted.items()
    ]
    if not delta.DeltaTable.is_deltatable(url, storage_options=options):
        transaction.create_table_with_add_actions(
            url, schema, added, "error", names, storage_options=options
        )
    else:
        table = delta.DeltaTable(url, storage_options=options)
        held = {unquote(path).removeprefix(f"{url}/") for path in table.file_uris()}
        if held != wanted.keys():
            # Only the list of files is written anew, never a row.
            table.create_write_transaction(added, "overwrite", schema, names)
    return Published(kind, url, len(wanted), sum(m.segment.rows for m in members))


def _delta_options(url: str) -> dict[str, str] | None:
    if not url.startswith("s3://"):
        return None
    names = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"]
    options = {name: os.environ[name] for name in names if name in os.environ}
    if options.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        options["AWS_ALLOW_HTTP"] = "true"
    return options


def _iceberg(storage: Storage, target: Path, kinds: dict[Kind, list[Member]]) -> list[Published]:
    sql = _load("pyiceberg.catalog.sql", "iceberg")
    target.mkdir(parents=True, exist_ok=True)
    target = target.absolute()
    catalog = sql.SqlCatalog(
        _NAMESPACE,
        uri=f"sqlite:///{target / 'iceberg.sqlite'}",
        warehouse=target.as_uri(),
        **_iceberg_options(),
    )
    try:
        catalog.create_namespace_if_not_exists(_NAMESPACE)
        return [_iceberg_table(catalog, storage, kind, members) for kind, members in kinds.items()]
    finally:
        catalog.close()


def _iceberg_table(
    catalog: Any, storage: Storage, kind: Kind, members: Sequence[Member]
) -> Published:
    name = f"{_NAMESPACE}.{kind}"
    if catalog.table_exists(name):
        table = catalog.load_table(name)
    else:
        table = catalog.create_table(name, _schema(kind, KNOWN))
        with table.update_spec() as update:
            for column in _partitions(kind):
                update.add_identity(column)
        # Our files carry no field ids: their columns are found by name, each of them.
        mapping = table.schema().name_mapping.model_dump_json()
        with table.transaction() as transaction:
            transaction.set_properties({"schema.name-mapping.default": mapping})
    base = storage.url if "://" in storage.url else Path(storage.url).absolute().as_uri()
    wanted = {f"{unquote(base)}/{member.segment.path}": member for member in members}
    held = {task.file.file_path: task.file for task in table.scan().plan_files()}
    gone, news = held.keys() - wanted.keys(), wanted.keys() - held.keys()
    if gone or news:
        with table.transaction() as transaction:
            snapshot = transaction.update_snapshot()
            with snapshot.overwrite() if gone else snapshot.fast_append() as change:
                for path in gone:
                    change.delete_data_file(held[path])
                for path in news:
                    change.append_data_file(_data_file(table, path, wanted[path]))
    url = f"{table.location()}"
    return Published(kind, url, len(wanted), sum(m.segment.rows for m in members))


def _data_file(table: Any, path: str, member: Member) -> Any:
    """Describe a segment by what the manifest knows: the file itself is not opened."""
    manifest = _load("pyiceberg.manifest", "iceberg")
    record = _load("pyiceberg.typedef", "iceberg").Record
    time_id = table.schema().find_field("timestamp").field_id
    segment = member.segment
    return manifest.DataFile.from_args(
        content=manifest.DataFileContent.DATA,
        file_path=path,
        file_format=manifest.FileFormat.PARQUET,
        partition=record(*member.partition.values()),
        record_count=segment.rows,
        file_size_in_bytes=segment.bytes,
        column_sizes={},
        value_counts={},
        null_value_counts={},
        nan_value_counts={},
        lower_bounds={time_id: segment.first_us.to_bytes(8, "little", signed=True)},
        upper_bounds={time_id: segment.last_us.to_bytes(8, "little", signed=True)},
        split_offsets=None,
        sort_order_id=None,
        spec_id=table.spec().spec_id,
        equality_ids=None,
        key_metadata=None,
    )


def _iceberg_options() -> dict[str, str]:
    names = {
        "s3.endpoint": "AWS_ENDPOINT_URL",
        "s3.access-key-id": "AWS_ACCESS_KEY_ID",
        "s3.secret-access-key": "AWS_SECRET_ACCESS_KEY",
        "s3.region": "AWS_REGION",
    }
    return {key: os.environ[name] for key, name in names.items() if name in os.environ}


def _load(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise MissingExtra(f"publishing as {extra}", extra) from e
