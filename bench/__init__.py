"""Benchmarks: `bench.proxies` measures proxies side by side, `bench/micro` single functions."""
