"""Benchmarks: ratios measured in one run, printed with their spread, never asserted in tests."""
