"""Segments: immutable sorted Parquet files, for whichever engine keeps history in files.

`segment` writes and reads them, `storage` is the folder or bucket they lie in. Which of them are
the store's is the engine's to say: its manifest names them.
"""
