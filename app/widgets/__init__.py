"""Widgets shared by the pages: movies, profiles, transport, job list."""
