"""The cache of one process: the reference, small enough to be obviously right."""
