"""Names of splits, as folders, tables and shards call them."""

ALL = "all"  # the one split of data that come without splits
SPLIT_NAMES = {
    "train": "train",
    "test": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
