"""What lies in a model's folder. No TensorFlow here."""

from pathlib import Path


def found(folder: Path) -> list[int]:
    """The versions in a model's folder: numbered, and complete."""
    try:
        names = [path.name for path in folder.iterdir() if (path / "saved_model.pb").is_file()]
    except OSError:  # the folder is gone: what is loaded goes on
        return []
    return [
        int(name) for name in names if name.isascii() and name.isdigit() and str(int(name)) == name
    ]
