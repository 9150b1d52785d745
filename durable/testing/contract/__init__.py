"""The store contract: what every store keeps, as checks for a test."""
