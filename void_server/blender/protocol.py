"""What both sides of the process must know of their talk."""

#: How a line that answers begins; all others are Blender's own.
MARK = "@void "
