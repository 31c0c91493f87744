import pytest

from input_pipeline.preparation.ranges import SOURCES
from synthct_jax.configs import chaos, default, folder, phantom

FILES = {"chaos": chaos, "folder": folder, "phantom": phantom}


@pytest.mark.parametrize("name", FILES)
def test_variant_names_the_input_channels(name):
    module = FILES[name]
    assert module.get_config().data.mr_channels == ("in_phase", "out_of_phase")
    channels = {v: module.get_config(v).data.mr_channels for v in module.VARIANTS}
    assert channels["in_out_t2"] == ("in_phase", "out_of_phase", "t2")
    assert channels["in"] == ("in_phase",)
    assert channels["out"] == ("out_of_phase",)
    assert channels["t2"] == ("t2",)
    assert module.get_config().data.source == name
    assert name in SOURCES


@pytest.mark.parametrize("module", [chaos, phantom])
def test_every_variant_exists_without_contrast_medium(module):
    for variant in default.MR_INPUTS:
        plain, noncontrast = (
            module.get_config(variant + end) for end in ("", "_noncontrast")
        )
        assert plain.data.mr_channels == noncontrast.data.mr_channels
        assert plain != noncontrast
    assert chaos.get_config("in_noncontrast").data.source in SOURCES


def test_variants_with_pairs_differ_in_their_number_alone():
    configs = [phantom.get_config(f"pairs_{n}_in_out") for n in (1, 2, 5, 10)]
    assert [config.phantom.pairs for config in configs] == [1, 2, 5, 10]
    for config in configs:
        with config.unlocked():
            config.phantom.pairs = 1
    assert all(config == configs[0] for config in configs)
    assert configs[0].loss.paired > 0 == phantom.get_config("in_out").loss.paired


@pytest.mark.parametrize("name", FILES)
def test_unknown_variants_and_fields_are_errors(name):
    with pytest.raises(ValueError, match=f"{name}.py has no variant 'inout'.*in_out"):
        FILES[name].get_config("inout")
    with pytest.raises(AttributeError):
        FILES[name].get_config().data.sise = 1


def test_variants_differ_in_the_training_images_with_lesions():
    configs = {v: phantom.get_config(v) for v in phantom.LESIONS}
    where = [config.phantom.train_lesions for config in configs.values()]
    assert where == ["both", "mr", "ct", "none"]
    for config in configs.values():
        config.phantom.train_lesions = ""
        assert config == phantom.get_config()
