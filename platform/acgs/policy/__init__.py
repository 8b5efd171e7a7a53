"""Rule engines behind one interface, and the validator that decides by them."""
