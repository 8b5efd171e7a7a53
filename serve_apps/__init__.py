"""One module per Serve application."""
