"""The report of a sweep: standings, leaderboard, TensorBoard's files and the page."""
