"""The tests of durable."""
