"""Proofs: what holds for all inputs, in all cycles. docs/verification.md says how they are made."""
