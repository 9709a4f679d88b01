"""Flags and configs are one."""

import dataclasses

import pytest

from lit_tl import flags
from lit_tl.launch import LaunchConfig
from lit_tl.lens.commands import eval as evaluation
from lit_tl.lens.commands import push, show, train

CONFIGS = (LaunchConfig, train.Config, evaluation.Config, show.Config, push.Config)


@pytest.mark.parametrize("config", CONFIGS)
def test_flags_equal_the_config_field_by_field(config: type) -> None:
    values = flags.define(config)
    assert set(values) == {field.name for field in dataclasses.fields(config)}
    for field in dataclasses.fields(config):
        default = None if field.default is dataclasses.MISSING else field.default
        saved = values[field.name].default
        assert saved == default or saved == str(default)
        assert len(field.metadata["help"]) > 5
        assert f"--{field.name}" in flags.help_text(config)


def test_a_command_line_is_the_config_it_says() -> None:
    line = [
        "train",
        "--model=m",
        "--data=d",
        "--output=o",
        "--lr_scale=0.5",
        "--bias_only",
        "--num_steps",
        "7",
        "--loss=ce",
    ]
    config, _ = flags.read(train.Config, line)
    assert config == train.Config(
        model="m", data="d", output="o", lr_scale=0.5, bias_only=True, num_steps=7, loss="ce"
    )
    assert (config.shift, config.warmup) == (1, 3)
    assert "output" not in config.results()
    assert config.results()["lr_scale"] == 0.5
