"""What a sweep left in its folder, read and shown."""

from epochal.app.tuning.report.hparams import write_hparams
from epochal.app.tuning.report.leaderboard import leaderboard_text
from epochal.app.tuning.report.sweep_data import Sweep, Trial, read_sweep
from epochal.app.tuning.report.sweep_results import conclude_sweep

__all__ = ["Sweep", "Trial", "conclude_sweep", "leaderboard_text", "read_sweep", "write_hparams"]
