"""Schemathesis throws generated requests at every route: none may be answered with a server error."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from acgs.cli.local_cluster import LocalCluster


@pytest.fixture
def api(platform_cluster: LocalCluster) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{platform_cluster.url}/openapi.json")


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_no_generated_request_breaks_a_route(case: schemathesis.Case) -> None:
    response = case.call(timeout=60)
    assert response.status_code < 500 or response.status_code == 503, response.text
