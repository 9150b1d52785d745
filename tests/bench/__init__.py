"""The benchmark: what the library reaches, as ratios to limits measured in the same run. `python -m tests.bench`."""
