"""The embedded servers, and the supervisor behind `make up`; not for production."""

# Imports neither Django nor an app, since the platform starts after the servers.
