"""Scans received as they are measured, over the ISMRMRD streaming protocol; see `mrd.server`."""

from __future__ import annotations
