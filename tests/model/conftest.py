"""The hypothesis profile: the same examples each time, others when a seed is given."""

import pytest
from hypothesis import HealthCheck, settings


def pytest_configure(config: pytest.Config) -> None:
    """A seed on the command line asks for other examples than the fixed ones."""
    has_seed = config.getoption("hypothesis_seed", None) is not None
    settings.register_profile(
        "model",
        derandomize=not has_seed,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("model")
