"""What both sides of the process must know of their talk."""

#: How a line that answers begins; all others are Blender's own.
MARK = "@void "

#: Poses whose numbers (metres, quaternions) differ by no more than this are the same.
SAME = 2e-4

#: The shape of what folds: Blender's cloth, not a rigid body.
CLOTH = "cloth"
