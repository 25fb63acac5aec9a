"""Metrics of the server for Prometheus: requests by status, their duration, the size of batches."""

import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_VERB = re.compile(r":(predict|classify|regress)$|/(infer|metadata)$")


class ServerMetrics:
    """Counts in a registry of its own: several servers in a process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "epochal_requests", "Requests", ["verb", "status"], registry=self._registry
        )
        self._request_seconds = Histogram(
            "epochal_request_seconds",
            "From a request to its reply",
            ["verb"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batch_images = Histogram(
            "epochal_batch_images", "Images of a batch", buckets=_IMAGES, registry=self._registry
        )
        self._batch_seconds = Histogram(
            "epochal_batch_seconds",
            "That a batch took the model",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._version = Gauge(
            "epochal_model_version", "The version that answers", registry=self._registry
        )

    def count_reply(self, path: str, status: int, seconds: float) -> None:
        """Count a reply; of its path the verb alone, or anybody could make labels without end."""
        verb = "other"
        match = _VERB.search(path)
        if match is not None:
            verb = match[1] or match[2]
        self._requests.labels(verb, str(status)).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def count_batch(self, images: int, seconds: float) -> None:
        """Count a batch that the model has answered."""
        self._batch_images.observe(images)
        self._batch_seconds.observe(seconds)

    def to_text(self, version: int | None) -> bytes:
        """Return all metrics as Prometheus reads them, with the version that answers, if any."""
        self._version.set(version or 0)
        return bytes(generate_latest(self._registry))
