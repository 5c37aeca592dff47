"""Decisions: which background work to do, when and how much, as pure functions of snapshots."""
