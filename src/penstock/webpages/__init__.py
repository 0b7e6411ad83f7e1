"""What the pages of the console are made of: how a component declares one, what it is handed, and lists that need no template.

The component `console` serves the pages; the components declare them (`Component.pages`) and never import it.
"""
