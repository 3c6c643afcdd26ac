"""Log lines: the name of the event, then its fields."""

import logging
from typing import Final

# What every record has; all else was given by who logged it.
_USUAL: Final = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime"))
_MOST_CHARS: Final = 200


class EventFormatter(logging.Formatter):
    """Adds the fields of an event behind its name, `field=value`, each cut to a bounded length."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a traceback below it if there is one."""
        fields = " ".join(
            f"{name}={str(value)[:_MOST_CHARS]}"
            for name, value in vars(record).items()
            if name not in _USUAL and value not in (None, "")
        )
        line, newline, trace = super().format(record).partition("\n")
        return f"{line} {fields}".rstrip() + newline + trace
