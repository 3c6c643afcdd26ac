"""The lake: SQL for what changes, immutable Parquet for what does not.

A folder holds `catalog.sqlite` (the ledger, instruments, the newest rows, and the manifest of
segments) and `segments/`, sorted Parquet files that are written once. A commit writes and syncs
its segments first; then one transaction of the catalog makes them visible and moves the ledger.
So data and ledger cannot disagree, readers never wait, several processes may write, and a crash
leaves at most a file that nobody names, which is swept.

- `catalog` opens the SQLite file and runs its transactions
- `hot` and `arrival` keep the newest rows in it, as the bytes of `chunk`; `coverage` the ledger,
  `agreement` the verdicts on candles
- `writer` drives a commit that `store.intake` has put in order, `state` remembers what it needs to
  know, `apply` is what its transaction does, `merge` builds segments, `combine` the tables in them
- `store.segments` writes and reads Parquet in the folder or bucket below it
- `holding` counts and digests what is stored; `verify` compares it with the ledger
- `discard` takes back what turned out to be wrong
- `reader` answers reads, `upkeep` removes what nobody needs, `publish` shows it to other engines
"""

from zvt_crypto.store.lake.lake import LakeStore

__all__ = ["LakeStore"]
