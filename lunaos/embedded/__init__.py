"""The embedded servers, and the supervisor behind `make up`: real PostgreSQL, Valkey and llama.cpp from wheels.

The package imports neither Django nor an app. Production runs without it.
"""
