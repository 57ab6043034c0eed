"""VOID inside Nuke: the nodes, their buttons, the jobs panel. Runs in Nuke 14 to 17, that is Python 3.9 to 3.11.

Modules that import ``nuke`` or Qt say so in their first line; all others run anywhere.
"""
