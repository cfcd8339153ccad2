"""Servers on the loopback that stand for what tests cannot reach: model providers, collectors, other hosts."""
