"""Usual learning rates: a table that names every optimizer of the application, readable without TensorFlow."""

# sgd: He et al. 2016 (arXiv:1512.03385, section 4.2), for networks with batch norm. adadelta: Zeiler 2012
# (arXiv:1212.5701), whose steps have the right length by themselves. lion: Chen et al. 2023 (arXiv:2302.06675,
# section 5), three to ten times below AdamW's. All others: the default of Keras, or of our own class.
USUAL_RATES: dict[str, float] = {
    "sgd": 0.1,
    "adadelta": 1.0,
    "adafactor": 0.001,
    "adagrad": 0.001,
    "adam": 0.001,
    "adamax": 0.001,
    "adamw": 0.001,
    "ftrl": 0.001,
    "lamb": 0.001,
    "lion": 0.0003,
    "muon": 0.001,
    "nadam": 0.001,
    "rmsprop": 0.001,
    "schedulefreeadamw": 0.0025,
    "adaptivegain": 0.01,
    "globalgain": 0.01,
    "diagonalnewton": 0.01,
}
