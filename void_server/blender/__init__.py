"""What runs inside Blender's own Python: nothing of ours is imported here, and nothing but bpy and the standard library."""
