"""What engines with a ledger do alike when a commit comes in, whatever they keep it in.

Batches become shares of series (`share`), shares are compared with what is held (`compare`), and a
ledger that only grows needs no look at the rows (`growth`).
"""
