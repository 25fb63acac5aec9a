"""What a sweep left in its folder, read and shown."""

from app.tuning.report.conclude import conclude_sweep
from app.tuning.report.hparams import write_hparams
from app.tuning.report.leaderboard import leaderboard_text
from app.tuning.report.sweep import Sweep, Trial, read_sweep

__all__ = ["Sweep", "Trial", "conclude_sweep", "leaderboard_text", "read_sweep", "write_hparams"]
