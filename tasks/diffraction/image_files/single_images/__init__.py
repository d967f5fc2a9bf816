"""Files of one image: what they hold, read once, and whether that is all.

- `content`, `file_bytes`: what a file holds, decompressed, read once for us and for dxtbx.
- `cbf`, `ccd`: what such a file says of its own length and checksum, and what is wrong with its header.
- `completeness`: wait for a file in the making, refuse one that was left incomplete.
- `plain_names`: names that dxtbx doesn't take for templates.
"""
