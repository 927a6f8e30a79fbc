"""`python -m carbonapi.commands`: the command line of a checkout."""

from . import main

main(prog_name="carbonapi")
