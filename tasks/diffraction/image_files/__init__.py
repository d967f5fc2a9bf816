"""Image files as DIALS sees them: is one there as a whole, what are its models and images. Layouts: `tasks.nexus`.

- `data_sets`: those of a process; masters stay open.
- `opening`, `experiments`, `data_set`: an image file's models and images.
- `raw`: an image's counts as they are stored.
- `hdf5_frames`: frames of a master, read where they are, for dxtbx.
- `content`, `file_bytes`: what a file of one image holds, decompressed, read once for us and for dxtbx.
- `cbf`, `ccd`: what such a file says of its own length and checksum, and what is wrong with its header.
- `completeness`: wait for a file in the making, refuse one that was left incomplete.
- `plain_names`: names that dxtbx doesn't take for templates.
- `explaining`: say why DIALS can't read a file.
"""
