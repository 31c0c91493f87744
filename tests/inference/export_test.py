"""The origin of a model in its card."""

import pytest
from tiny_run import tiny_config

from synthct_jax.inference import export

OWN, DRAWN = "phantom: MR of 1, CT of 1 subjects", "simulated scans of 3 drawn people"


@pytest.mark.parametrize(
    ("method", "anatomies", "weight", "expected"),
    [
        ("cyclegan", 0, 0.0, OWN),
        ("cyclegan", 3, 0.0, OWN),  # drawn for nothing
        ("cyclegan", 3, 10.0, f"{OWN}; {DRAWN}"),
        ("supervised", 0, 0.0, OWN),
        ("supervised", 3, 0.0, DRAWN),
    ],
)
def test_card_names_the_images_of_the_training(method, anatomies, weight, expected):
    config = tiny_config()
    config.method, config.loss.simulated = method, weight
    config.phantom.anatomies = anatomies
    subjects = {"subjects": [{"split": "train"}, {"split": "test"}]}
    domains = {"mr": subjects, "ct": subjects}
    assert export._training_data(config.to_dict(), domains) == expected


def test_card_names_pairs_of_the_training():
    config = tiny_config()
    config.loss.paired = 10.0
    domains = dict.fromkeys(("mr", "ct"), {"subjects": [{"split": "train"}]})
    data = export._training_data(config.to_dict(), domains)
    assert data == f"{OWN}, some of them pairs"


def test_card_names_the_teacher():
    config = tiny_config(distil_from="runs/ensemble")
    domains = dict.fromkeys(("mr", "ct"), {"subjects": [{"split": "train"}]})
    data = export._training_data(config.to_dict(), domains)
    assert data == f"{OWN}; the CT that ensemble makes of these MR"
