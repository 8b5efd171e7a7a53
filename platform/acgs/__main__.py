"""`python -m acgs`: the acgs command."""

from acgs.cli.main import main

main()
