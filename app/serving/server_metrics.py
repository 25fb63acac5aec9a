"""What Prometheus may know of the server: requests by status, how long they took, how large batches were."""

import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_VERB = re.compile(r":(predict|classify|regress)$|/(infer|metadata)$")


class Measures:
    """Counts in a registry of its own: several servers in a process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "epochal_requests", "Requests", ["verb", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "epochal_request_seconds",
            "From a request to its reply",
            ["verb"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batch = Histogram(
            "epochal_batch_images", "Images of a batch", buckets=_IMAGES, registry=self._registry
        )
        self._call = Histogram(
            "epochal_batch_seconds",
            "That a batch took the model",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._version = Gauge(
            "epochal_model_version", "The version that answers", registry=self._registry
        )

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Notes a reply; of its path the verb alone, or anybody could make labels without end."""
        found = _VERB.search(path)
        verb = "other" if found is None else found[1] or found[2]
        self._requests.labels(verb, str(status)).inc()
        self._seconds.labels(verb).observe(seconds)

    def called(self, images: int, seconds: float) -> None:
        """Notes a batch."""
        self._batch.observe(images)
        self._call.observe(seconds)

    def text(self, version: int | None) -> bytes:
        """Prometheus' text."""
        self._version.set(version or 0)
        return bytes(generate_latest(self._registry))
