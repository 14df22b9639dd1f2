"""Evidence read back: what a submission holds and what its execution left, typed and validated, as hostile input."""
