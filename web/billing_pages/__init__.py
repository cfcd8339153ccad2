"""Pages on which people subscribe, pay, and open their subscription at Stripe."""
