"""Networks on images: sliding windows or one pass, by blocks of any size."""
