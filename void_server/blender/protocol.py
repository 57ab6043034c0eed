"""What both sides of the process must know of their talk."""

#: How a line that answers begins; all others are Blender's own.
MARK = "@void "

#: The argument with which our program does all on one thread.
ONE_THREAD = "--one-thread"

#: Poses whose numbers (metres, quaternions) differ by no more than this are the same.
SAME = 2e-4

#: The shape of what folds: Blender's cloth, not a rigid body.
CLOTH = "cloth"
