"""Check: the contract that every loss term keeps, as a function that users can call on their own.

    check_term(lambda: (MyTerm(model.config, objective), clips))

Truths: a term gives one finite number; it has a gradient into the latents, or says why not, and
into all of its head; it depends on nothing but the clips, the seed and the step, to the bit; it
reads no stream that it does not declare, does without its optional ones, and refuses clips without
one that it needs by a sentence; it writes into nothing.
Whether the term is any good, and whether several processes compute what one does, is not asked
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from armillary.core.errors import ArmillaryError, CheckFailedError, ConfigError
from armillary.core.values import Batch
from armillary.training.clean import clean_name
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term


def check_term(factory: Callable[[], tuple[Term, EncodedClips]]) -> None:
    """Check a loss term against its contract, on a small example.

    Args:
        factory: makes the term, and encoded clips whose latents have a gradient and whose batch has
            every stream that the term declares, the optional ones too.

    Raises:
        CheckFailedError: a part of the contract does not hold; the sentence says which.
        ConfigError: the example is too small to show anything.
    """
    term, clips = factory()
    shape = clips.model.config
    _check_example(clips, (*term.streams(shape), *term.optional_streams(shape)))
    _hold(bool(type(term).__doc__), "docstring: the class says what the term is")
    before, chance = _copies(clips), _chance()
    loss = term(clips)
    _check_value(loss)
    now = _copies(clips)
    kept = all(_equal(now[name], value) for name, value in before.items())
    _hold(kept, "arguments: the term writes into no clips")
    _check_gradient(term, clips, loss)
    afresh = replace(clips)  # without what was shared
    _same(term(afresh), loss, "repeat: the same clips, seed and step give the same bits")
    _check_streams(term, clips, loss)
    promise = "chance: the term draws from clips.generator, from no global generator"
    _hold(_chance() == chance, promise)


def _check_example(clips: EncodedClips, declared: Iterable[str]) -> None:
    if missing := sorted({*declared} - clips.batch.streams.keys()):
        raise ConfigError(
            f"check_term needs clips with {', '.join(missing)}, which the term declares as streams."
        )
    if min(clips.batch.valid.shape) < 2 or not clips.latents.requires_grad:
        raise ConfigError(
            "check_term needs at least 2 clips of 2 steps, encoded with gradients; got "
            f"{list(clips.batch.valid.shape)}."
        )


def _check_value(loss: Tensor) -> None:
    _hold(loss.shape == (), f"scalar: a term gives one number (got {list(loss.shape)})")
    _hold(bool(loss.isfinite()), f"finite: a term gives a finite number (got {loss.item()})")


def _check_gradient(term: Term, clips: EncodedClips, loss: Tensor) -> None:
    _hold(loss.requires_grad, "gradient: the loss has one")
    head = dict(term.named_parameters())
    shared = [p for p in clips.model.parameters() if p.requires_grad]
    wanted = [clips.latents, *head.values(), *shared]
    gradients = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
    into_head = dict(zip(head, gradients[1:], strict=False))
    for name, gradient in into_head.items():
        _hold(gradient is not None, f"head: every parameter has a gradient ({name} has none)")
    if term.without_latents:
        into_model = gradients[1 + len(head) :]
        promise = "gradient: a term that does not use clips.latents has one into the model"
        _hold(any(map(_moves, into_model)), promise)
    else:
        promise = "gradient: a term has one into clips.latents, or says why not (without_latents)"
        _hold(_moves(gradients[0]), promise)


def _moves(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.isfinite().all() and gradient.any())


def _check_streams(term: Term, clips: EncodedClips, loss: Tensor) -> None:
    shape = clips.model.config
    needed, optional = term.streams(shape), term.optional_streams(shape)
    declared = {*shape.streams, *needed, *optional}
    promise = "streams: the term reads none that it does not declare"
    _same(_computed(term, _only(clips, declared)), loss, promise)
    for name in needed:
        _check_refusal(term, _only(clips, declared - {name}), name)
    if more := {*optional} - {*needed, *shape.streams}:
        _check_value(_computed(term, _only(clips, declared - more)))


def _check_refusal(term: Term, clips: EncodedClips, name: str) -> None:
    promise = f"missing: clips without {name!r} are refused by a sentence that names it"
    try:
        term(clips)
    except ArmillaryError as error:
        _hold(name in str(error), promise)
    except Exception as error:  # whatever a user's term raises is named, not let through
        raise _broken(f"{promise} (got {type(error).__name__})") from error
    else:
        raise _broken(promise)


def _computed(term: Term, clips: EncodedClips) -> Tensor:
    """Return the loss of clips with the declared streams only."""
    try:
        return term(clips)
    except (ArmillaryError, KeyError) as error:
        raise _broken(
            f"streams: the term needs none that it does not declare in streams ({error})"
        ) from error


def _same(one: Tensor, other: Tensor, promise: str) -> None:
    _hold(_equal(one, other), f"{promise} (got {one.item():.9g} and {other.item():.9g})")


def _only(clips: EncodedClips, names: Iterable[str]) -> EncodedClips:
    """Return the clips, not yet computed with, with some of their streams."""
    kept = {*names} | {clean_name(name) for name in names}
    streams = {name: values for name, values in clips.batch.streams.items() if name in kept}
    return replace(clips, batch=Batch(streams, clips.batch.actions, clips.batch.valid))


def _copies(clips: EncodedClips) -> dict[str, Tensor]:
    batch = {**clips.batch.streams, "valid": clips.batch.valid}
    encoded = {"latents": clips.latents, "actions": clips.actions}
    return {name: value.detach().clone() for name, value in (batch | encoded).items()}


def _chance() -> tuple[bytes, bytes, int]:
    """Return the state of torch's and numpy's global generators."""
    state = np.random.get_state(legacy=False)["state"]
    return torch.random.get_rng_state().numpy().tobytes(), state["key"].tobytes(), state["pos"]


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(), other.nan_to_num()) and one.dtype == other.dtype


def _hold(holds: bool, promise: str) -> None:
    if not holds:
        raise _broken(promise)


def _broken(promise: str) -> CheckFailedError:
    return CheckFailedError(f"check_term: this does not hold: {promise}.")
