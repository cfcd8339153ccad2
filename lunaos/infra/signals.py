"""Signals of the floor, which apps receive without being imported by it."""

from django.dispatch import Signal

# Sent with `user`, `credential` (as authentication returned them) and `error` before a refused request is answered.
# Receivers must not wait: the client does.
request_refused = Signal()
