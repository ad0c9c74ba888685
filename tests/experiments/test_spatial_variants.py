"""Spatial variants are equal in size, share what they can, and tell what the result needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from armillary.core.errors import ConfigError
from armillary.experiments.spatial.rows import paired_tests
from armillary.experiments.spatial.run import VariantsConfig, run_spatial_variants
from armillary.experiments.spatial.variants import (
    FUSED,
    SUBSETS,
    TOLERANCE,
    VARIANTS,
    fused_recipe,
    parameters,
    variant_recipe,
)
from armillary.models import PredictorConfig
from armillary.models.config import LOOSE
from armillary.recipes.world import adapted_to, world
from armillary.training.world_changes import WorldChanges

RECORDED = {"rgb", "depth", "world_from_camera", "intrinsics"}


def fitted(recipe):
    """Return a recipe as the study's recording makes it."""
    return adapted_to(recipe, RECORDED, 10.0, acts=True)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_variants_have_the_same_parameters_tokens_and_training(variant):
    base = fitted(world())
    recipe = variant_recipe(variant, base)
    assert abs(parameters(recipe.model) / parameters(base.model) - 1) <= TOLERANCE
    assert replace(recipe, model=base.model, augment=base.augment) == base
    changed = replace(base, augment=replace(base.augment, world=WorldChanges(depth_holes=0.2)))
    sees_depth = "depth_m" in recipe.model.streams
    assert (variant_recipe(variant, changed).augment == changed.augment) == sees_depth
    usual = variant_recipe(variant, fitted(VariantsConfig().base)).augment.world
    assert usual == (VariantsConfig().base.augment.world if sees_depth else WorldChanges())
    encoder = recipe.model.encoder
    assert (encoder.tokens, encoder.width) == (base.model.encoder.tokens, base.model.encoder.width)
    if any(name in LOOSE for name in variant.sensors):
        assert recipe.model.cloud_tokens == encoder.num_patches == 64


def test_subsets_are_subsets_and_the_fused_model_may_miss_any():
    base = fitted(world())
    recipe = fused_recipe(base, 0.3)
    assert recipe.model.optional_sensors == FUSED.sensors
    assert recipe.objective == replace(base.objective, sensor_dropout=0.3)
    assert recipe.model.encoder == base.model.encoder
    assert all({*sensors} <= {*FUSED.sensors} for sensors in SUBSETS.values())


def test_a_base_that_is_too_small_gets_a_sentence():
    base = fitted(world())
    encoder = replace(base.model.encoder, hidden=1, patch_hidden=1, patch_width=1, keypoints=0)
    encoder = replace(encoder, stem="patches")  # convolutions have a least size of their own
    small = replace(base.model, encoder=encoder, predictor=PredictorConfig(1, 1))
    with pytest.raises(ConfigError, match="Use a larger base"):
        variant_recipe(VARIANTS["points"], replace(base, model=small))


def tiny() -> VariantsConfig:
    base = VariantsConfig().base
    finetune = replace(base.settling, steps=2, clips=8)
    base = replace(base, steps=2, batch_size=4, checkpoint_every=2, eval_every=2, settling=finetune)
    return VariantsConfig(
        base=base,
        variants=("rgb", "point_map_camera", "point_map_world"),
        seeds=(0,),
        subsets=("rgb", "points"),
        # what the tabletop can show already stands in for shifts that leave places alone
        shifts={"in_distribution": {}, "view_30": {"samples": 0}},
        episodes=4,
        steps=14,
        judged=2,
        probed=3,
        goals=2,
        size_pairs=(20, 10),
        workers=1,
    )


@pytest.mark.slow  # 30 s, twelve trainings
def test_a_tiny_run_from_end_to_end_is_used_again(tmp_path):
    config = tiny()
    first = run_spatial_variants(tmp_path, config)
    assert [*first["arms"]] == [*config.variants] and [*first["subsets"]] == [*config.subsets]
    for row in first["arms"].values():
        assert len(row["seeds"]) == 1 and row["hidden_position_m_10"] > 0
        for shift in config.shifts:
            found = row["seeds"][0][shift]
            assert found["n"] == 2 and 0 <= found["success"] <= 1
            assert 0 < found["position_error_cm"] < 100
    for row in first["subsets"].values():
        assert 0 <= row["success"] <= 1 and row["probe_cm"] > 0
    assert {*first["size_distance"]} == {"rgb", "rgbd"}
    assert all(0 <= row["accuracy"] <= 1 for row in first["size_distance"].values())
    assert {*first["tests"]["view_30"]} == {"rgb", "point_map_camera"}
    models = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    assert len(models) >= 6
    assert run_spatial_variants(tmp_path, config)["arms"] == first["arms"]
    assert all(path.stat().st_mtime_ns == when for path, when in models.items())
    with pytest.raises(ConfigError, match="contains variants with other settings"):
        run_spatial_variants(tmp_path, replace(config, episodes=5))


@pytest.mark.slow  # 30 s, a second study
def test_more_may_be_asked_for_later(tmp_path, monkeypatch):
    whole = tiny()
    config = replace(whole, variants=("rgb", "point_map_camera"), fused_seeds=(), subsets=())
    first = run_spatial_variants(tmp_path, config)
    assert not first["subsets"] and first["steps"] == {"arms": 2}
    more = run_spatial_variants(tmp_path, whole)
    assert [*more["arms"]] == [*whole.variants] and more["steps"]["fused"] == 2 * whole.fused_longer
    assert {name: more["arms"][name] for name in first["arms"]} == first["arms"]
    monkeypatch.setitem(VARIANTS, "rgb", VARIANTS["rgb_depth"])
    with pytest.raises(ConfigError, match="of another variant"):
        run_spatial_variants(tmp_path, config)


def test_the_study_adds_other_looks_to_the_recipe_and_nothing_else():
    base, usual = VariantsConfig().base, world()
    assert base.settling == replace(usual.settling, varied=True)
    looks = replace(base.augment, colour=usual.augment.colour, world=usual.augment.world)
    assert looks == usual.augment
    assert replace(base, augment=usual.augment, settling=usual.settling) == usual


def test_every_variant_of_the_default_is_of_the_size_of_its_base():
    base = fitted(VariantsConfig().base)
    wanted = parameters(base.model)
    for variant in VARIANTS.values():
        assert abs(parameters(variant_recipe(variant, base).model) / wanted - 1) <= TOLERANCE


def test_variants_are_tested_on_the_same_episodes():
    best, other = [np.ones(10)] * 2, [np.zeros(10), np.array([1.0] * 9 + [0])]
    same = {"in_distribution": best, "view_90": best}
    tests = paired_tests(
        {"rgb": {"in_distribution": best, "view_90": other}, "point_map_world": same}
    )
    row = tests["view_90"]["rgb"]
    assert (row["best_only"], row["arm_only"]) == (11, 0)
    # ten episodes, of which one was solved twice as often: all signs alike, or that one alone
    assert row["p"] == pytest.approx(2 / 2**10) and row["p_holm"] == pytest.approx(4 / 2**10)
    assert tests["in_distribution"]["rgb"]["p"] == 1
    assert paired_tests({"rgb": same}) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variants": ("sonar",)}, "sonar"),
        ({"seeds": ()}, "a variant and a seed"),
        ({"shifts": {}}, "a shift 'in_distribution'"),
        ({"steps": 12}, "at least 13 steps long; got .* and 12 steps"),
        ({"fused_longer": 0}, "must be at least 1"),
    ],
)
def test_settings_that_cannot_be(changes, said):
    with pytest.raises(ConfigError, match=said):
        VariantsConfig(**changes)
