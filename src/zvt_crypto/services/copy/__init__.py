"""Moving data between stores: stretch by stretch, resumable, compared at the end.

`StoreCopier` is the face; `stretch` decides where time is cut and what two stores have in common,
`selection` which series are meant, `report` how far a copy is and what it did.
"""

from zvt_crypto.services.copy.copier import CopyConfig, StoreCopier
from zvt_crypto.services.copy.report import CopyReport, Disagreement, SeriesCopy, SeriesProgress
from zvt_crypto.services.copy.selection import select

__all__ = [
    "CopyConfig",
    "CopyReport",
    "Disagreement",
    "SeriesCopy",
    "SeriesProgress",
    "StoreCopier",
    "select",
]
