"""Servers on the loopback in place of model providers, collectors, other hosts."""
