"""Where deployments and their documents are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from acgs.errors import AcgsError
from acgs.registry.lifecycle import LifecycleEvent
from acgs.serving.deployments.documents import SignedDocument
from acgs.serving.deployments.record import Deployment
from acgs.serving.routing import ModelRoute


class DeploymentBusyError(AcgsError):
    """Another deployment of the model is under way."""

    code = "conflict"


class StaleDeploymentError(AcgsError):
    """Somebody else moved the deployment on in the meantime."""

    code = "conflict"


class UnknownDeploymentError(AcgsError):
    """There is no such deployment or document."""

    code = "not_found"


@dataclass(frozen=True, slots=True)
class Change:
    """What happens in one transaction: the deployment as it is now, the routes if they change, the event."""

    deployment: Deployment
    event: LifecycleEvent
    routes: Mapping[str, ModelRoute] | None = None
    expected_epoch: int | None = None


class DeploymentStore(Protocol):
    """Shared by whoever releases and by the controller. All raise `UnavailableError` if the store cannot be used."""

    def begin(self, change: Change) -> Deployment:
        """Keep a new deployment; its number is the last one's plus one.

        Raises:
            DeploymentBusyError: another one of the model is active.
            StaleTableError: the routes changed in the meantime.
        """
        ...

    def change(self, change: Change) -> Deployment:
        """Keep the next state of a deployment, whose revision must be the one kept.

        Raises:
            StaleDeploymentError: it is not.
            StaleTableError: the routes changed in the meantime.
        """
        ...

    def get(self, deployment_id: str) -> Deployment:
        """One deployment. Raises `UnknownDeploymentError`."""
        ...

    def active(self) -> list[Deployment]:
        """Those that still move."""
        ...

    def of_model(self, model: str | None = None, *, limit: int | None = None) -> list[Deployment]:
        """Deployments of a model, or of all, latest first."""
        ...

    def add_document(self, document: SignedDocument, event: LifecycleEvent) -> None:
        """Keep a document; the same one again changes nothing."""
        ...

    def document(self, digest: str) -> SignedDocument:
        """One document. Raises `UnknownDeploymentError`."""
        ...

    def documents(self, model: str, version: str, kind: str) -> list[SignedDocument]:
        """Documents of a version, latest first."""
        ...
