"""What every way of making a version says of it, beside what its maker says."""

from __future__ import annotations

from pathlib import Path

from acgs.registry.git import Repository
from acgs.registry.model_version import Description
from acgs.serving.package import check_servable


def with_code(
    source: Path, description: Description, repository: Repository | None, *, allow_dirty: bool = False
) -> Description:
    """A description with the commit of the code that made the model.

    Raises:
        InvalidInputError: the source is a model folder that could never be served.
        DirtyTreeError: the repository has changes that no commit holds.
    """
    check_servable(source)
    state = None if repository is None else repository.committed_state(allow_dirty=allow_dirty)
    return description if state is None else description.model_copy(update={"code": state})
