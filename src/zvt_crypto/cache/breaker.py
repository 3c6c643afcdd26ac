"""When a server is not asked any more: after failures in a row, until somebody saw it well."""


class Breaker:
    """Open after `failures` calls in a row that failed; closed by the first that did not.

    While it is open nobody calls the server but the one who looks whether it is back.
    """

    __slots__ = ("_failures", "_left", "is_open", "trouble")

    def __init__(self, failures: int) -> None:
        self._failures = failures
        self._left = failures
        self.is_open = False
        self.trouble = ""

    def failed(self, trouble: str) -> bool:
        """Note a failure; return whether it opened now."""
        self.trouble = trouble
        self._left -= 1
        if self._left > 0 or self.is_open:
            return False
        self.is_open = True
        return True

    def succeeded(self) -> None:
        """Note that all is well."""
        self._left = self._failures
        self.is_open = False
        self.trouble = ""
