"""Names of the files in a run's folder."""

from dataclasses import dataclass
from pathlib import Path

CONFIG = "config.yaml"
DIGESTS = "data_files.json"
LOCK = ".lock"
REPORT = "report.html"
RESULT = "result.json"
TEST_USES = "test_uses.json"


@dataclass(frozen=True)
class RunFiles:
    """Where the files of a run lie; no other module knows their names."""

    folder: Path

    @property
    def config_file(self) -> Path:
        """The resolved configuration as YAML; with it the folder is a run."""
        return self.folder / CONFIG

    @property
    def environment_file(self) -> Path:
        """The machine and the libraries as JSON."""
        return self.folder / "environment.json"

    @property
    def data_file(self) -> Path:
        """The data card as JSON."""
        return self.folder / "data.json"

    @property
    def digests_file(self) -> Path:
        """Digests of the files of the data set by path, as JSON; a trial's are in its sweep."""
        return self.folder / DIGESTS

    @property
    def result_file(self) -> Path:
        """The reported figures as JSON; with it the run is a finished one."""
        return self.folder / RESULT

    @property
    def test_uses_file(self) -> Path:
        """How often the test split was evaluated, as JSON."""
        return self.folder / TEST_USES

    @property
    def rollbacks_file(self) -> Path:
        """The returns to earlier checkpoints as JSON, absent where there was none."""
        return self.folder / "rollbacks.json"

    @property
    def feature_reuse_file(self) -> Path:
        """The weights between layers of dense blocks as JSON, absent without such a block."""
        return self.folder / "feature_reuse.json"

    @property
    def augmented_file(self) -> Path:
        """The first augmented training images as JSON; absent in trials and in older runs."""
        return self.folder / "augmented.json"

    @property
    def log_file(self) -> Path:
        """What happened, a line with its time each."""
        return self.folder / "log.txt"

    @property
    def lock_file(self) -> Path:
        """Locked by the process that trains the run."""
        return self.folder / LOCK

    @property
    def history_file(self) -> Path:
        """The figures of every epoch as CSV, read by `history`."""
        return self.folder / "history.csv"

    @property
    def checkpoints(self) -> Path:
        """The folder in which checkpoints are published."""
        return self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        """The published folder of the best weights, read by `best_weights`."""
        return self.checkpoints / "best"

    @property
    def normalization_arrays(self) -> Path:
        """The published folder of the arrays that normalise images; absent where a mean and a
        deviation a channel, which are in the data card, do."""
        return self.folder / "normalization"

    @property
    def best_epochs(self) -> Path:
        """The folder of `BestWeights`, the callback that keeps weights of the best epochs."""
        return self.folder / "best_weights"

    @property
    def image_record(self) -> Path:
        """The published folder of how each training image fared, where that is recorded."""
        return self.folder / "image_record"

    @property
    def failed_step(self) -> Path:
        """The published folder of a step that left the finite numbers."""
        return self.folder / "nan"

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.folder / REPORT

    @property
    def curves_plot(self) -> Path:
        """The learning curves as PNG."""
        return self.folder / "curves.png"

    @property
    def confusion_plot(self) -> Path:
        """The confusion matrix as PNG."""
        return self.folder / "confusion.png"

    @property
    def losses_plot(self) -> Path:
        """The losses over the iterations as PNG, of `LossCurves`."""
        return self.folder / "losses.png"

    @property
    def losses_file(self) -> Path:
        """The losses over the iterations as JSON, which `LossCurves` writes beside its plot."""
        return self.losses_plot.with_suffix(".json")

    @property
    def iterations_log(self) -> Path:
        """A line of JSON for each iteration, of `TrainingLog`."""
        return self.folder / "iterations.jsonl"

    @property
    def gradient_flow_log(self) -> Path:
        """A line of JSON for each epoch, of `GradientFlow`."""
        return self.folder / "gradient_flow.jsonl"

    @property
    def activations_log(self) -> Path:
        """A line of JSON for each epoch, of `ActivationMonitor`."""
        return self.folder / "activations.jsonl"

    @property
    def timing_file(self) -> Path:
        """Where the time went, as JSON, of `Timing`."""
        return self.folder / "timing.json"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.folder / "tensorboard"
