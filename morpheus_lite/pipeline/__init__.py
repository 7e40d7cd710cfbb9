"""The stories: from an image to class maps, label maps, catalogues and products."""
