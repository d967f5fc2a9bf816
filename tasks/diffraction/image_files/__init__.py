"""Image files as DIALS sees them: is one there as a whole, what are its models and images. Layouts: `tasks.nexus`.

- `data_sets`: those of a process; masters stay open.
- `opening`, `experiments`, `data_set`: an image file's models and images.
- `raw`: an image's counts as they are stored.
- `hdf5_frames`: frames of a master, read where they are, for dxtbx.
- `single_images`: files of one image.
- `stored_images`: which images of a file are stored.
- `explaining`: say why DIALS can't read a file.
"""
