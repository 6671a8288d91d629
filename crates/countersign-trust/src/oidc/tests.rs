//! Tests of tokens, rules and presets.
