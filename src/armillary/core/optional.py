"""Optional imports: a missing extra is one sentence that names the install command."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from armillary.core.errors import MissingExtraError


def require(module: str, extra: str, why: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: dotted name of the module.
        extra: the extra of armillary that installs it.
        why: what it is needed for, as the end of "... is needed to".

    Returns:
        The imported module.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is needed to {why}. Install it with: pip install 'armillary[{extra}]'"
        ) from error
