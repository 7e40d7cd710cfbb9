"""Background and noise of images: meshes, correlated noise, the detection image."""
