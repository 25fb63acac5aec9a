"""Model cards of exports, filled from a run."""

from pathlib import Path

from epochal.app.data.dataset import Dataset
from epochal.app.store.model_card import Calibration, ModelCard
from epochal.app.store.run import Run, judged_on
from epochal.app.store.trained_model import Trained

_PRIVATE = ("name", "dataset", "data_dir")  # may tell of the machine it was trained on


def make_card(run: Run, trained: Trained, dataset: Dataset, calibration: Calibration) -> ModelCard:
    """Return the card of a run's model."""
    result = run.read_json("result.json")
    preprocessing = trained.preprocessing
    split = judged_on(result)
    configuration = trained.config.to_dict()
    for key in _PRIVATE:
        configuration.pop(key, None)
    return ModelCard(
        run=run.folder.name,
        model=trained.config.model,
        dataset=Path(trained.config.dataset).name,
        data_sha256=dataset.fingerprint(),
        classes=len(preprocessing.classes),
        input={
            "channels": preprocessing.channels,
            "stored_size": preprocessing.stored_size,
            "image_size": preprocessing.image_size,
            "mean": list(preprocessing.mean),
            "deviation": list(preprocessing.deviation),
            "levels": "0 to 255",
            "interpolation": "bilinear with antialiasing, shorter side to stored_size; central square of image_size",
        },
        judged_on=split,
        accuracy=result[f"{split}_accuracy"],
        accuracy_low=result[f"{split}_accuracy_low"],
        accuracy_high=result[f"{split}_accuracy_high"],
        count=result[f"{split}_count"],
        loss=result[f"{split}_loss"],
        calibration=calibration,
        precision=trained.config.precision,
        parameters=result["params"],
        trained={
            "epochs": result["epochs"],
            "best_epoch": result["best_epoch"],
            "seconds": result["wall_seconds"],
            "configuration": configuration,
            "packages": run.read_json("environment.json")["packages"],
        },
    )
