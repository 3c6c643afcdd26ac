"""What a recording holds, counted exactly, in memory that does not grow with its length."""
