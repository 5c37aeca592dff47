"""What must hold after a death in a cache with a flash tier."""

from tests.crash.flash_rig import Plan, Rig, allowed_values, work
from tests.crash.plan import Model

_AFTERWARDS = 200


def check_values(rig: Rig, before: Model, after: Model) -> set[bytes]:
    """The keys that are missing; none holds what it never should."""
    missing = set()
    for key in sorted(before.values.keys() | after.values.keys()):
        allowed = {before.values.get(key), after.values.get(key)}
        found = rig.get(key)
        if found is None:
            missing |= {key} if None not in allowed else set()
        else:
            assert found in allowed, (key, found[:80], [value and value[:80] for value in allowed])
    return missing


def judge(rig: Rig, plan: Plan, begun: int, most_missing: int | None) -> None:
    """By who has taken the dead ones' slots: all values, all from flash, and on it goes."""
    before, after = allowed_values(plan, begun)
    missing = check_values(rig, before, after)
    rig.look()
    # Now all from flash: every record is its key's.
    rig.exile()
    rig.look()
    missing |= check_values(rig, before, after)
    assert most_missing is None or len(missing) <= most_missing, missing
    counters = rig.counters()
    assert counters["badcrc_from_extstore"] == 0
    assert counters["get_extstore"] > 0 or begun < 20
    assert most_missing is None or counters["miss_from_extstore"] == 0
    # No entry is out of reach of its key.
    for key in before.values.keys() | after.values.keys():
        rig.send(b"delete %s\r\n" % key)
    assert rig.look() == 0
    go_on(rig, Plan(plan.seed + 1000), is_complete=most_missing is not None)


def go_on(rig: Rig, plan: Plan, *, is_complete: bool) -> None:
    """Whoever is left works as if nothing had been."""
    work(rig, plan, _AFTERWARDS, lambda number: None)
    rig.exile()
    model, _ = allowed_values(plan, _AFTERWARDS + 1)
    missing = check_values(rig, model, model)
    assert not missing or not is_complete, missing
    rig.look()
    rig.worker.limbo_step(1 << 20)
    rig.worker.check()
