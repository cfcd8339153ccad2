"""The tables of dj-stripe."""
