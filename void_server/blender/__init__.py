"""What runs inside Blender's own Python: it imports bpy and the standard library alone."""
