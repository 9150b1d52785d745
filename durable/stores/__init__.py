"""Keep the journal in a store: the protocol, a mapping, a file."""
