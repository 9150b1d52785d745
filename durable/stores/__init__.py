"""Where the journal is kept: the protocol, a mapping, a file."""
