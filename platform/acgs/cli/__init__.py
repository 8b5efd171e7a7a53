"""The acgs command."""
