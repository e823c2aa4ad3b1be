"""Images from files: pictures, folders, zips, npz and IDX files, as pixels with labels or as a network's samples.

Input to the contract and no part of it. Needs the extra `transfer` where pictures are decoded or resized.
"""

from bitrow.images.samples import read_samples

__all__ = ["read_samples"]
