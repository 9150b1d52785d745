"""Check that a store keeps its contract.

Separate because these checks are for people who write a store of their own.
Leaves to `stores.store` the words of the contract.
"""
