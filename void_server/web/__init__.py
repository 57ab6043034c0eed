"""The page: a client of a server, for browsers. It shows what a server does, and lets people try it without Nuke."""
