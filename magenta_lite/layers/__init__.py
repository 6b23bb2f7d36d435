"""Keras layers shared by several families."""
