"""Measure the library, as ratios to limits that are measured in the same run.

    python -m tests.bench
"""
