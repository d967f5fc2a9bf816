"""Pictures of an image: previews, and the image with its spots."""
