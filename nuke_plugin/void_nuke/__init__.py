"""VOID inside Nuke: the nodes, their buttons, the jobs panel. Runs in Nuke 14 to 17, Python 3.9 to 3.11, and in 3.13.

Modules that need ``nuke`` or Qt say so in the first line of their docstring; all others run anywhere.
"""
