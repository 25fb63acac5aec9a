"""Augmentation policies: values of all augmentation settings by one name."""

from collections.abc import Mapping
from typing import Any

from epochal.app.config.keys import SETTINGS

_GROUP = "augment"
_KEY = "augment.policy"

# Settings that a policy does not name are off.
POLICIES: dict[str, dict[str, Any]] = {
    # He et al. 2015, arXiv:1512.03385, section 4.2; which images are mirrored as Jordan 2024,
    # arXiv:2404.00498, section 3.6.
    "cifar": {"pad_crop": 4, "flip": "alternating"},
    # Simard, Steinkraus and Platt 2003, section 2: alpha and sigma for 28 pixels.
    "mnist-elastic": {"elastic": 34.0, "elastic_sigma": 4.0},
    "photos": {
        "resized_crop": 0.25,
        "flip": "random",
        "scale_crop": None,
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.2,
    },
    # Area and ratio of Szegedy et al. 2015, arXiv:1409.4842; colours as Chen et al. 2020,
    # arXiv:2002.05709, appendix A, at half strength; erasing of Zhong et al. 2017,
    # arXiv:1708.04896.
    "photos-strong": {
        "resized_crop": 0.08,
        "flip": "random",
        "scale_crop": None,
        "rotate": 5.0,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.1,
        "grey": 0.1,
        "erase": 0.25,
    },
    "none": {},
}
_OFF: dict[str, Any] = {"pad_crop": 0, "flip": False, "scale_crop": False}


def expand_policy(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted key, and with them all of the policy that they name, if any.

    Settings that are given beside the policy stay as they are.
    """
    name = values.get(_KEY)
    if name is None:
        return dict(values)
    of_policy = {}
    for key, setting in SETTINGS.items():
        if setting.group == _GROUP:
            of_policy[key] = setting.default
    for field, value in (_OFF | POLICIES[name]).items():
        of_policy[f"{_GROUP}.{field}"] = value
    return of_policy | dict(values)
