"""epochal under one name: `app`, `models` and `callbacks` are links to the folders beside."""
