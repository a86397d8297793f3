"""The byte layout of an acquisition's header in ISMRMRD files and MRD streams, as the standard has it."""

from __future__ import annotations

import numpy as np

COUNTERS = np.dtype(
    [
        *(
            (name, "<u2")
            for name in ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast")
        ),
        *((name, "<u2") for name in ("phase", "repetition", "set", "segment")),
        ("user", "<u2", (8,)),
    ]
)
ACQUISITION_HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("flags", "<u8"),
        *((name, "<u4") for name in ("measurement_uid", "scan_counter", "acquisition_time_stamp")),
        ("physiology_time_stamp", "<u4", (3,)),
        *((name, "<u2") for name in ("number_of_samples", "available_channels", "active_channels")),
        ("channel_mask", "<u8", (16,)),
        *((name, "<u2") for name in ("discard_pre", "discard_post", "center_sample", "encoding_space_ref")),
        ("trajectory_dimensions", "<u2"),
        ("sample_time_us", "<f4"),
        *((name, "<f4", (3,)) for name in ("position", "read_dir", "phase_dir", "slice_dir")),
        ("patient_table_position", "<f4", (3,)),
        ("idx", COUNTERS),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
    ]
)
