"""What spots say of an image: the nine statistics of `dials.algorithms.spot_finding.per_image_analysis`, vectorised.

DIALS goes through spots, bins and pairs in Python. Here the same operations are done on whole arrays: in numpy where
each is exact or correctly rounded (+, -, ×, /, square roots, comparisons), in flex where it isn't, or where a sum's
order matters. So the numbers are the same to the last bit.
"""
