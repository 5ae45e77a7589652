"""Measurements that back the numbers of the README: `python -m benchmarks.NAME [--quick] [--json FILE]`."""
