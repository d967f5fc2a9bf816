"""Where the images of an HDF5/NeXus master are: the one reader of its layout, for whoever watches, reads or lists them.

- `errors`: a file that isn't ready yet, and one that never will do.
- `opening`: open a file without locks, and tell a file in the making from a broken one.
- `locks`: whether a writer holds a file.
- `links`: where links lead, by HDF5's rules.
- `tree`: a master's groups and datasets, over all links.
- `layout`: which image is which frame of which dataset.
- `mapping`: what a virtual dataset maps.
- `master`: read a master's layout.
- `metadata`: what DIALS reads of a master besides its images, and whether it's there.
- `lacks`: what a master lacks that DIALS needs.
- `scan`: how many images a scan has.
- `storage`: whether frames are stored.
- `images`: a master's images, opened one data file at a time.
- `related`: all files that belong to a master.
- `image_counter`: the program that the file watcher asks how many images are stored.
"""
