"""The worlds there are, by the name that the command line knows them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import Any, get_type_hints

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.protocols import World
from armillary.core.settings import as_declared


def _tabletop(**settings: Any) -> World:
    from armillary.worlds.tabletop.world import Tabletop

    return Tabletop(**settings)


def _two_rooms(**settings: Any) -> World:
    from armillary.worlds.two_rooms.world import TwoRooms

    return TwoRooms(**as_declared("two_rooms", get_type_hints(TwoRooms.__init__), settings))


def _stage(**settings: Any) -> World:
    from armillary.worlds.stage import Stage

    return Stage(**as_declared("stage", get_type_hints(Stage.__init__), settings))


def _yard(**settings: Any) -> World:
    from armillary.worlds.yard.world import Yard

    return Yard(**settings)


def _perturbed(
    base: str = "tabletop",
    kind: str = "stuck",
    earliest: int = 2,
    latest: int = 12,
    **settings: Any,
) -> World:
    from armillary.worlds.perturbed import Perturbed

    world = make_world(base, **settings)
    try:
        return Perturbed(world, kind, earliest, latest)
    except ConfigError:
        world.close()
        raise


WORLDS: dict[str, Callable[..., World]] = {
    "tabletop": _tabletop,
    "two_rooms": _two_rooms,
    "stage": _stage,
    "yard": _yard,
    "perturbed": _perturbed,
}
# What lists a world's settings as its parameters.
_SETTINGS = {
    "tabletop": "armillary.worlds.tabletop.settings:TabletopSettings",
    "two_rooms": "armillary.worlds.two_rooms.world:TwoRooms",
    "stage": "armillary.worlds.stage:Stage",
    "yard": "armillary.worlds.yard.settings:YardSettings",
}
GYM_PREFIX = "gym:"


def make_world(name: str, /, **settings: Any) -> World:
    """Make a world by name: one of ``WORLDS``, or any Gymnasium id that renders.

    Args:
        name: ``"tabletop"``, ``"two_rooms"``, ``"yard"``, ``"gym:Env-v0"`` or
            ``"gym:module:Env-v0"``, ...
        settings: of that world, e.g. ``image_size=64``.

    Raises:
        ConfigError: an unknown world or setting.
        MissingExtraError: the world needs something that is not installed.
    """
    if name.startswith(GYM_PREFIX):
        from armillary.worlds.gym.goals import gym_world

        if "env_id" in settings:
            raise ConfigError(
                f"{name}: the environment is named as the world (gym:Env-v0); leave env_id out."
            )
        factory: Callable[..., World] = gym_world
        settings = {"env_id": name.removeprefix(GYM_PREFIX), **settings}
    elif name in WORLDS:
        factory = WORLDS[name]
    else:
        raise unknown_name("world", name, [*WORLDS, "gym:<id>"])
    settings = as_declared(name, get_type_hints(factory), settings)
    try:
        return factory(**settings)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        unknown = str(error).rpartition("argument ")[2].strip("'")
        raise _unknown_setting(name, unknown, settings) from error


def _unknown_setting(world: str, name: str, settings: Mapping[str, Any]) -> ConfigError:
    """Return the error for a setting that a world does not have, with those that it has."""
    home = _SETTINGS.get(str(settings.get("base", "tabletop")) if world == "perturbed" else world)
    if home is None:
        return ConfigError(f"There is no setting of {world} called {name!r}.")
    module, _, made = home.partition(":")
    known = list(signature(getattr(import_module(module), made)).parameters)
    return unknown_name(f"setting of {world}", name, known)
