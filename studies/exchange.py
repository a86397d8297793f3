"""What a study gives into a reader's package, and how it takes the answers in that come back.

Rule: a package holds what one reader needs and nothing else: the open protocol, the reader's own schedule,
which movies a clip has. A response is checked as a whole (study, package, chain, signature, every answer
against the schedule) before one event takes it in, so it is in the study entirely or not at all; what is
there already is not taken twice; and of two copies of a package that were both read, the one that was merged
first stays.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies import answers, blinding, clips, concealment
from studies.blinding import unveiled_labels
from studies.errors import StudyError
from studies.events import Event, canonical_json
from studies.names import person_name
from studies.protocol import Protocol
from studies.reading import ReadableStudy
from studies.response import Response, times_set_back
from studies.schedule import Presentation
from studies.state import (
    ANSWER_KINDS,
    PACKAGE_OPENED,
    ExportedPackage,
    MergedResponse,
    PackageIdentity,
    StudyState,
)

MANIFEST_FORMAT = "blindcine-package-1"


@dataclass(frozen=True)
class MergeSummary:
    """What came of merging a response."""

    reader: str
    rankings: int
    """Rankings of the reader in the study now."""
    new: int
    """Of them, those that this response brought."""
    duplicates: int
    """Rankings of the response that were in the study already."""
    missing: int
    """Rankings that the reader still owes."""
    clock_set_back: int
    """How often the clock of the reader's machine went back between two events."""


@dataclass(frozen=True, eq=False)
class PackageMovies:
    """The grey values of one clip, for a package."""

    clip_id: str
    movie_ids: tuple[str, ...]
    """Sorted."""
    display: NDArray[np.uint8]
    """`(movie, frame, y, x)`, cropped and on the clip's common grey scale."""
    frame_times_s: NDArray[np.float64]
    pixel_spacing_mm: tuple[float, float]


class ExchangingStudy(ReadableStudy):
    """The part of `Study` that reader packages and their responses go through."""

    # Out

    def package_manifest(self, reader: str, package_id: str, public_key: str) -> dict[str, Any]:
        """Return what a package for a reader says, without the hashes of its movies.

        What the reader has answered so far goes with it, so that the reading goes on where it stands: a
        package can be made anew when a computer was lost, or for a reader who began in the study itself.

        Raises:
            StudyError: when the study is not being read, or the reader is unknown or has finished.
        """
        self._permit("make reader packages", "coordinator")
        state = self._current()
        self._require(state, "reading", "make a reader package")
        schedule = state.schedule(reader)
        reader = person_name(reader)
        if state.next_presentation(reader) is None:
            raise StudyError(f"'{reader}' has ranked everything: there is nothing left for a package.")
        return {
            "format": MANIFEST_FORMAT,
            "study_id": state.study_id,
            "package_id": package_id,
            "public_key": public_key,
            "reader": reader,
            # The other readers' names are none of this one's business.
            "protocol": {**self.protocol.to_dict(), "readers": [reader]},
            "protocol_sha256": state.protocol_sha256,
            "labels": state.veiled_labels,
            "schedule": blinding.veil_schedule(concealment.schedule_entries(schedule)),
            "earlier": self._answers_of(reader),
            "clips": [
                {
                    "clip_id": scan.clip_id,
                    "plane": scan.plane,
                    "sampling": scan.sampling,
                    "practice": scan.practice,
                }
                for scan in sorted(state.scans.values(), key=lambda scan: scan.clip_id)
            ],
        }

    def package_movies(self) -> Iterator[PackageMovies]:
        """Yield every clip as readers see it, by clip id. Raises StudyError when a movie is not sound."""
        self._permit("make reader packages", "coordinator")
        scans = self._current().scans.values()
        for scan in sorted(scans, key=lambda scan: scan.clip_id):
            movies, frame_times_s, spacing = self._files.load_movies(scan.clip_id, scan.movies)
            cropped = clips.crop(movies, spacing, self.protocol.crop_mm)
            display = blinding.display_frames(cropped, self.protocol.grey_scale)
            yield PackageMovies(scan.clip_id, tuple(scan.movies), display, frame_times_s, spacing)

    def record_export(self, manifest: Mapping[str, Any]) -> None:
        """Record that a package with this manifest was made; from here on its reader answers there.

        Raises:
            StudyError: when the reader has gone on elsewhere meanwhile, or the study is not being read.
        """
        reader = manifest["reader"]
        with self._writing("reading", "make a reader package") as transaction:
            if self._answers_of(reader) != manifest["earlier"]:
                raise StudyError(f"'{reader}' has read on while the package was made: make it again.")
            payload = {
                "reader": reader,
                "done": self._state.progress(reader)[0],
                "package_id": manifest["package_id"],
                "public_key": manifest["public_key"],
                "manifest_sha256": manifest_sha256(manifest),
            }
            transaction.append("package_exported", payload, "coordinator")

    def _answers_of(self, reader: str) -> list[dict[str, Any]]:
        """What a reader has answered so far, here or in packages, in order.

        Without numbers and hashes, whose gaps would tell how far other readers are.
        """
        found: list[Event] = []
        for event in self._log.events():
            if event.kind == "response_merged" and event.payload["reader"] == reader:
                found += [Event(**answer) for answer in event.payload["events"]]
            elif event.kind in ANSWER_KINDS and event.payload["reader"] == reader:
                found.append(event)
        return [
            {"kind": event.kind, "time_utc": event.time_utc, "payload": event.payload}
            for event in found
            if event.kind != PACKAGE_OPENED
        ]

    @property
    def packages(self) -> list[ExportedPackage]:
        """The reader packages that were made, in their order."""
        return [item for item in self._current().exports.values() if self._sees(item.reader)]

    @property
    def merged_responses(self) -> list[MergedResponse]:
        """Of each package that was answered, what was merged."""
        return [item for item in self._current().merged.values() if self._sees(item.reader)]

    @property
    def package(self) -> PackageIdentity:
        """Which package this is. Raises StudyError when it is the study itself."""
        package = self._current().package
        if package is None:
            raise StudyError(f"'{self.folder}' is no reader package, but the study itself.")
        return package

    def unsigned_response(self) -> Response:
        """Return all that the reader of this package did. Raises StudyError when it is no package."""
        package = self.package
        return Response(
            study_id=package.study_id,
            package_id=package.package_id,
            copy_id=package.copy_id,
            reader=package.reader,
            events=tuple(self._log.events()),
        )

    # In

    def take_in(self, response: Response, content: bytes) -> MergeSummary:
        """Merge a response.

        Args:
            response: from `Response.parse`.
            content: the file, for the record.

        Raises:
            StudyError: naming why it is refused; then nothing of it is in the study.
        """
        self._permit("merge responses", "coordinator")
        digest = hashlib.sha256(content).hexdigest()
        with self._writing("reading", "merge a response") as transaction:
            state = self._state
            exported = _check_origin(state, response)
            conflict = _conflict(state, response)
            if conflict is not None:
                if digest not in state.refused:
                    transaction.append(
                        "response_refused", _identity(response, digest, reason="conflict"), "coordinator"
                    )
            else:
                before = state.merged.get(response.package_id)
                known = 0 if before is None else len(before.answers)
                new = response.events[known:]
                _check_answers(state, response, exported, new)
                if new:
                    payload = {
                        **_identity(response, digest),
                        "signature": response.signature,
                        "events": [asdict(event) for event in new],
                    }
                    transaction.append("response_merged", payload, "coordinator")
        if conflict is not None:
            raise StudyError(conflict)
        done, total = self.progress(response.reader)
        brought = sum(event.kind == "ranking_committed" for event in new)
        held = sum(event.kind == "ranking_committed" for event in response.events)
        return MergeSummary(
            reader=response.reader,
            rankings=done,
            new=brought,
            duplicates=held - brought,
            missing=total - done,
            clock_set_back=times_set_back(response.events),
        )

    def _verify_responses(self, state: StudyState) -> None:
        """Check chain and signature of everything that was merged, once more. Raises StudyError."""
        for merged in state.merged.values():
            response = Response(
                study_id=state.study_id,
                package_id=merged.package_id,
                copy_id=merged.copy_id,
                reader=merged.reader,
                events=merged.answers,
                signature=merged.signature,
            )
            response.check_chain()
            response.check_signature(state.exports[merged.package_id].public_key)


def manifest_sha256(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a package's manifest, by which the study knows it again."""
    return hashlib.sha256(canonical_json(manifest).encode()).hexdigest()


def _identity(response: Response, digest: str, **more: str) -> dict[str, Any]:
    return {
        "reader": response.reader,
        "package_id": response.package_id,
        "copy_id": response.copy_id,
        "response_sha256": digest,
        **more,
    }


def _check_origin(state: StudyState, response: Response) -> ExportedPackage:
    """Make sure that a response is of this study, of one of its packages, whole and signed."""
    if response.study_id != state.study_id:
        raise StudyError(f"The response of '{response.reader}' is of another study.")
    exported = state.exports.get(response.package_id)
    if exported is None or exported.reader != response.reader:
        raise StudyError(
            f"The response of '{response.reader}' is of the package '{response.package_id}', which this "
            "study has not made for this reader."
        )
    response.check_chain()
    response.check_signature(exported.public_key)
    first = response.events[0]
    opened = first.payload
    if first.kind != "package_opened" or (
        manifest_sha256(opened.get("manifest", {})) != exported.manifest_sha256
        or opened.get("copy_id") != response.copy_id
    ):
        raise StudyError(
            f"The response of '{response.reader}' does not begin with the package as it was made: the "
            "package was changed."
        )
    return exported


def _conflict(state: StudyState, response: Response) -> str | None:
    """Say why a sound response contradicts what is in the study, if it does."""
    before = state.merged.get(response.package_id)
    last = state.last_package(response.reader)
    advice = "what was merged first stays; ask the reader which of the two readings counts."
    if before is None:
        # A package goes on from where its reader stood when it was made, so nothing may have come since.
        stood = state.exports[response.package_id].done
        at = state.progress(response.reader)[0]
        return None if stood == at else f"'{response.reader}' has read two packages: {advice}"
    if response.copy_id != before.copy_id:
        return f"'{response.reader}' has read two copies of one package, on two machines or folders: {advice}"
    for ours, theirs in zip(before.answers, response.events, strict=False):
        if ours.hash != theirs.hash:
            return (
                f"The response of '{response.reader}' differs from what was merged from event "
                f"{ours.sequence} on: one reading went on in two copies of its folder; {advice}"
            )
    if last != response.package_id and len(response.events) > len(before.answers):
        return f"'{response.reader}' went on in an older package after a newer one was answered: {advice}"
    return None


def _check_answers(
    state: StudyState, response: Response, exported: ExportedPackage, new: tuple[Event, ...]
) -> None:
    """Play the new answers on a copy of the state, each checked as if it were entered now."""
    protocol = Protocol.from_dict(response.events[0].payload["manifest"]["protocol"])
    shadow = copy.deepcopy(state)
    for event in new:
        try:
            if event.sequence > 1:
                expected = _expected(shadow, protocol, exported.reader, event)
                if event.actor != exported.reader or event.payload != expected:
                    raise StudyError("it is not what the reader's schedule and the protocol lead to")
            shadow.apply_answer(event)
        except (StudyError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            reason = str(error) if isinstance(error, StudyError) else f"it is malformed ({error!r})"
            raise StudyError(
                f"Event {event.sequence} of the response of '{exported.reader}' ({event.kind}) is refused: "
                f"{reason.rstrip('.')}."
            ) from error


def _expected(state: StudyState, protocol: Protocol, reader: str, event: Event) -> dict[str, Any]:
    """Build the payload that an answer must have, from what only the reader could know."""
    payload = event.payload
    if event.kind == "session_started":
        return answers.session_payload(
            state, reader, payload["session_id"], payload["conditions"], payload["software"]
        )
    if event.kind == "refresher_shown":
        return answers.refresher_payload(state, reader, payload["presentation_id"])
    if event.kind == "break_prompted":
        return answers.break_payload(state, reader, taken=payload["taken"])
    presentation = _presentation(state, reader, payload["presentation_id"])
    if event.kind == "ranking_committed":
        return answers.ranking_payload(
            state,
            protocol,
            reader,
            presentation,
            payload["ranks"],
            seconds=payload["seconds"],
            frames_skipped=payload["frames_skipped"],
            loops=payload["loops"],
            comment=payload["comment"],
            window_level=payload["window_level"],
            confidence=payload["confidence"],
            cannot_judge=payload["cannot_judge"],
            session_id=payload["session_id"],
            viewing=payload["viewing"],
            software=payload["software"],
        )
    if event.kind == "guess_recorded":
        labels = unveiled_labels(state.veiled_labels)
        return answers.guess_payload(state, protocol, reader, presentation, payload["choices"], labels)
    raise StudyError("no reader makes events of this kind")


def _presentation(state: StudyState, reader: str, presentation_id: str) -> Presentation:
    for presentation in state.schedule(reader):
        if presentation.presentation_id == presentation_id:
            return presentation
    raise StudyError(f"presentation '{presentation_id}' is not in the schedule of '{reader}'")
