"""Measure the library, as ratios to limits that are measured in the same run.

Run it as `python -m tests.bench`.
"""
