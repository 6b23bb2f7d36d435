"""What a prior takes from its VQ-VAE and from the labels of its data."""

from __future__ import annotations

from magenta_lite.config import get_config
from magenta_lite.families.jukebox.data import CodesData

FACTS = {
    "1": {"artist": "Ann", "genre": "jazz"},
    "2": {"artist": "Bob", "genre": "rock"},
    "3": {"artist": "Bob", "genre": ""},
    "4": {"artist": "Cleo", "genre": "rock"},
    "5": {"artist": "Dora", "genre": "rock"},
}


def complete(prior="jukebox_prior_tiny", vqvae="vqvae_tiny", changes=(), opened=None):
    def facts(data):
        if opened is not None:
            opened.append(data.source)
        return FACTS

    config = get_config(prior, ["converter.vqvae=runs/a", *changes])
    return CodesData().completed(config, get_config(vqvae, ["data.source=music"]), facts)


def test_the_most_frequent_names_have_ids_and_rare_ones_are_unknown(capsys):
    opened = []
    config = complete(opened=opened)
    assert config.converter.artist_names == ("Bob", "Ann", "Cleo")
    assert config.converter.genre_names == ("rock", "jazz")
    assert "the rarest 1 are unknown to it; --set model.artists=5" in capsys.readouterr().err
    assert opened == ["music"] and config.data.source == "music"


def test_given_names_and_a_given_source_are_kept_and_models_without_labels_open_nothing():
    opened = []
    changes = ["converter.genre_names=[folk]", "data.source=other"]
    config = complete(changes=changes, opened=opened)
    assert config.converter.genre_names == ("folk",) and config.converter.artist_names == ()
    assert config.data.source == "other"
    complete("jukebox_delay_tiny", "rvqvae_tiny", opened=opened)
    assert opened == []


def test_a_delay_prior_takes_the_number_of_quantizers():
    vqvae = get_config("rvqvae_tiny", ["model.quantizers=5", "model.codes=16"])
    config = get_config("jukebox_delay_tiny", ["converter.vqvae=runs/a"])
    config = CodesData().completed(config, vqvae, lambda data: FACTS)
    for section in (config.model, config.converter):
        assert (section.quantizers, section.codes, section.hop) == (5, 16, 16)
    assert config.converter.vqvae.endswith("/runs/a") and config.converter.vqvae[0] == "/"
