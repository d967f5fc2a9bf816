"""Counts of an image as they are stored, in arrays that a process keeps: no copy in DIALS's arrays, nor in floats.

- `frame`: what is read; in which range counts are trusted.
- `kept_arrays`: the memory that images are read into, one after another.
- `master_frames`: of a master's data files; `chunks`, `bitshuffle`: by their chunks, where HDF5 needn't be asked.
- `cbf_pixels`: of a CBF file.
"""
