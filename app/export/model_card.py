"""Model cards of exports, filled from a run."""

from epochal.app.config import SETTINGS
from epochal.app.data.dataset import Dataset
from epochal.app.evaluation.trained_model import Trained
from epochal.app.store.model_card import Calibration, ModelCard
from epochal.app.store.result import Figures
from epochal.app.store.run import Run


def make_card(
    run: Run, trained: Trained, dataset: Dataset, figures: Figures, calibration: Calibration
) -> ModelCard:
    """Return the card of a run's model, which has these figures on the split that judges it."""
    result = run.result()
    preprocessing = trained.preprocessing
    configuration = trained.config.to_dict()
    for key, setting in SETTINGS.items():
        if setting.traits.private:
            group, _, name = key.rpartition(".")
            values = configuration[group] if group else configuration
            del values[name]
    return ModelCard(
        run=run.folder.name,
        model=trained.config.model,
        dataset=trained.config.dataset_name,
        data_sha256=dataset.fingerprint(),
        classes=len(preprocessing.classes),
        input={
            "channels": preprocessing.channels,
            "stored_size": preprocessing.stored_size,
            "image_size": preprocessing.image_size,
            "mean": list(preprocessing.mean),
            "deviation": list(preprocessing.deviation),
            "levels": "0 to 255",
            "normalization": trained.config.data.normalization,
            "views": trained.config.evaluation.views,
            "interpolation": "bilinear with antialiasing, shorter side to stored_size; "
            "central square of image_size",
        },
        judged_on=result.judged_on,
        accuracy=figures.accuracy,
        accuracy_low=figures.accuracy_low,
        accuracy_high=figures.accuracy_high,
        count=figures.count,
        loss=figures.loss,
        calibration=calibration,
        precision=trained.config.precision,
        parameters=result.params,
        trained={
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "seconds": result.wall_seconds,
            "configuration": configuration,
            "packages": dict(run.environment().packages),
        },
    )
