"""A double of Stripe on the loopback: a server that plays Stripe's API where Stripe cannot be reached. No money moves.

The double is no part of the product and imports none of it. The product reaches the double as it reaches Stripe, over
HTTP with Stripe's SDK. `manage.py fake_stripe` starts it beside `make up`; tests start
`tools.stripe_double.double.Double`.

To add a route of Stripe's: a class of parameters in `params.py`, a function that makes or changes the object in the
module of its kind in `resources/`, and a line in `routes.py`. `tests/test_schema_check.py` then checks the objects that
the route returns against the SDK.
"""

API_VERSION = "2026-05-27.dahlia"
