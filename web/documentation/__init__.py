"""The documentation at /docs, made from the folder `docs` and from the catalogue."""
