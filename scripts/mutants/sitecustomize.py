"""Lets the programs that tests start note what they run (`noting.py`): Python imports this file by its name at each start."""

import os

if "MUTANTS_CHILDREN" in os.environ:
    from noting import note

    note(os.environ["MUTANTS_CHILDREN"], os.environ["MUTANTS_SOURCES"].split(os.pathsep))
