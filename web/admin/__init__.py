"""The house for staff: what the admin shows that more than one app knows of."""
