"""Where the images of an HDF5/NeXus master are: the one reader of its layout, for whoever watches, reads or lists them.

- `errors`: a file that isn't ready yet, and one that never will do.
- `opening`: open a file without locks, and tell a file in the making from a broken one.
- `links`: where links lead, by HDF5's rules.
- `layout`: which image is which frame of which dataset.
- `mapping`: what a virtual dataset maps.
- `master`: read a master's layout.
- `images`: a master's images, opened one data file at a time, and whether they are stored.
- `related`: all files that belong to a master.
- `image_counter`: the program that the file watcher asks how many images are stored.
"""
