"""Sampling patterns of the three acquisitions (Cartesian, radial, spiral) and their density weights."""
