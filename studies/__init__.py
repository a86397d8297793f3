"""The science of a blinded reader study: event log, schedule, blinding, rankings, measurements, statistics.

Knows no Qt, no TensorFlow and no raw data: movies come in as files, results go out as plain records.
"""
