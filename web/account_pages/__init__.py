"""Pages on which people confirm an address and set a new password."""
