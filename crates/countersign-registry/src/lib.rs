//! countersign-registry
