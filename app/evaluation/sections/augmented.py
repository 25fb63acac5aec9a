"""Augmented images: a strip of what the network saw first, beside the same images unchanged."""

from __future__ import annotations

from epochal.app.evaluation.sections.section import Picture, Section
from epochal.app.store.run import Run

_HEAD = "data:image/png;base64,"


def augmented(run: Run) -> Section | None:
    """Return the section, or None where training kept no images."""
    records = run.augmented()
    if not records:
        return None
    pictures = []
    for record in records:
        uri = str(record["uri"])
        if not uri.startswith(_HEAD):
            raise ValueError(f"expected {_HEAD}..., got {uri[:40]}")
        notes = tuple(str(note) for note in record["draws"])
        pictures.append(Picture(uri=uri, name=str(record["label"]), notes=notes))
    text = (
        "The first training images of the first epoch: on the left as evaluation would see them, "
        "on the right as the network saw them, with what each drew below."
    )
    return Section(title="Augmented images", text=text, pictures=tuple(pictures))
