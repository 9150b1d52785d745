"""What follows from what: pure decisions over the folded state, without an await, a clock or a log."""
