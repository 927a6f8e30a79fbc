"""`python -m carbonapi.commands`: the command line without an installed script."""

from . import main

main()
