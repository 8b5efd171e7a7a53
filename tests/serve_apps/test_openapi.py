"""Schemathesis throws generated requests at every route: none may be answered with a server error."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from acgs.cli.local_cluster import LocalCluster

EXAMPLES_PER_ROUTE = 40


def test_no_generated_request_breaks_a_route(platform_cluster: LocalCluster) -> None:
    schema = schemathesis.openapi.from_url(f"{platform_cluster.url}/openapi.json")
    routes = []
    for result in schema.get_all_operations():
        operation = result.ok()
        routes.append(operation.label)

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES_PER_ROUTE,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        def check(case: schemathesis.Case) -> None:
            response = case.call(timeout=60)
            assert response.status_code < 500 or response.status_code == 503, response.text

        check()
    assert "POST /api/v1/enhanced-governance/evaluate" in routes
    assert len(routes) >= 9
