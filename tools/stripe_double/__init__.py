"""A double of Stripe on the loopback: what this machine cannot reach, played by a real server. No money moves.

It is no part of the product and imports none of it: the product reaches it as it reaches Stripe, over HTTP with
Stripe's SDK. `manage.py fake_stripe` starts it beside `make up`; tests start `tools.stripe_double.double.Double`.

To play one more of Stripe's routes: a class of parameters in `params.py`, a function that makes or changes the object
in the file of its kind, and a line in `routes.py`. `tests/test_schema_check.py` then checks what it emits against the SDK.
"""

API_VERSION = "2026-05-27.dahlia"
