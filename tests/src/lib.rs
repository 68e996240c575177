//! The pretend Cilium node.
