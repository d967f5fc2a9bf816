"""Files of one image each: whether one is there as a whole, and why DIALS can't read it. HDF5 masters: `tasks.nexus`.

- `content`: what a file holds, decompressed, read once for this and for dxtbx.
- `cbf`, `ccd`: what such a file says of its own length and checksum, and what is wrong with its header.
- `completeness`: wait for a file in the making, refuse one that was left incomplete.
- `explaining`: say why DIALS can't read a file.
"""
