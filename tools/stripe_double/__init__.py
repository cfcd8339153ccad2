"""A double of Stripe on the loopback; it plays Stripe's API, and imports no app.

To add a route of Stripe's: a class of parameters in `params.py`, a function that makes or changes the object in the
module of its kind in `resources/`, and a line in `routes.py`. `tests/test_schema_check.py` then checks the objects that
the route returns against the SDK.
"""

API_VERSION = "2026-05-27.dahlia"
