"""epochal under one name: `epochal.app`, `epochal.models` and `epochal.callbacks` are links to the folders beside."""
