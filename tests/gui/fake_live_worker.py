"""The fake worker, which also plays scans live: image n is filled with the number n.

A scan called "deaf" goes on after a cancel, one called "torn" names images that are not in the ring file, one
called "nonsense" names a file that is none.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from fake_worker import Worker, emit  # noqa: E402

HEIGHT, WIDTH, SLOTS = 6, 9, 4
SLOT = 8 + 4 * HEIGHT * WIDTH
SLOT += -SLOT % 64


class LiveWorker(Worker):
    """See the module."""

    def work(self, request: dict[str, Any]) -> None:
        """Play live, or do what the fake worker does."""
        path = Path(request.get("path", ""))
        if request["command"] != "live" or "bad" in path.stem:
            super().work(request)
            return
        identifier, ring = request["id"], Path(request["ring"])
        emit(event="started", id=identifier)
        emit(event="progress", id=identifier, phase="reading", fraction=0.0, remaining_s=None)
        content = bytearray(64 + SLOTS * SLOT)
        content[:20] = struct.pack("<8sIII", b"BCLIVE1\0", HEIGHT, WIDTH, SLOTS)
        ring.write_bytes(b"nonsense" if "nonsense" in path.stem else bytes(content))
        number = 0
        while identifier not in self.cancelled or "deaf" in path.stem:
            number += 1
            place = 64 + (number - 1) % SLOTS * SLOT
            if "nonsense" not in path.stem:
                with ring.open("r+b") as file:
                    file.seek(place)
                    told = number + 1 if "torn" in path.stem and number > 3 else number
                    file.write(struct.pack("<Q", told) + struct.pack("<f", number) * (HEIGHT * WIDTH))
            emit(
                event="frame",
                id=identifier,
                number=number,
                ring=str(ring),
                index=2 * number,
                time_s=0.1 * number,
                latency_s=0.0123,
                p95_s=0.0456 if number > 1 else None,
                dropped=number - 1,
                held=number == 1,
                shape=[HEIGHT, WIDTH],
                pixel_spacing_mm=[2.0, 1.0],
                **({"note": "The first 8 frames are held back."} if number == 1 else {}),
            )
            time.sleep(0.01)
        emit(event="cancelled", id=identifier)


if __name__ == "__main__":
    LiveWorker().run()
