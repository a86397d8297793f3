"""Movies as files for other programs: MP4, GIF, DICOM, NIfTI, and a grid of movies as one video.

Every function makes the whole content in memory and writes it in one piece, so that a file is there as a
whole or not at all; progress callbacks may raise to stop. Nothing here knows a study: what is handed over is
written with the names it comes with, so it is for demonstrations and for studies that are unblinded.
"""

from __future__ import annotations

from studies.export.grid import GridCell, GridSettings, cells_of_movies, export_grid
from studies.export.movies import FORMATS, MovieExport, export_movie

__all__ = [
    "FORMATS",
    "GridCell",
    "GridSettings",
    "MovieExport",
    "cells_of_movies",
    "export_grid",
    "export_movie",
]
