"""How each kind of model is loaded and asked: one module a kind, registered in `opening`."""
