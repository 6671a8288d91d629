//! countersign-trust
