"""The networks of all versions: what they have in common, and the forms in which they compute."""
