"""The embedded servers, and the supervisor behind `make up`: real PostgreSQL, Valkey and llama.cpp from wheels.

Lies on the floor: knows nothing of Django or of any app. Production runs without it.
"""
