//! countersign-web
