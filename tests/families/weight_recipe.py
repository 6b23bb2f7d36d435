"""Weights that are a function of their name, as the golden data's page defines them."""

import zlib

import numpy as np


class RecipeReader:
    """Stands for a checkpoint of such weights.

    Args:
        manifest: A dict with `weight_seed`, `weight_gain` and `weight_bias`.
        shapes: Shape of each variable; None for the manifest's `variables`.
    """

    def __init__(self, manifest, shapes=None):
        self.manifest = manifest
        self.shapes = manifest["variables"] if shapes is None else shapes

    def get_variable_to_shape_map(self):
        return self.shapes

    def get_tensor(self, name):
        shape = self.shapes[name]
        key = (zlib.crc32(name.encode()) + 7919 * self.manifest["weight_seed"]) % 2**32
        limit = self.manifest["weight_bias"]
        if len(shape) > 1:
            limit = self.manifest["weight_gain"] * np.sqrt(3 / np.prod(shape[:-1]))
        return np.random.RandomState(key).uniform(-limit, limit, size=shape).astype(np.float32)
