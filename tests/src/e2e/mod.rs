//! The end-to-end tests, one subject a file. A file lists its tests with [`tests!`](crate::tests) and is added to
//! [`ALL`]; the functions fail by an error or a panic.

mod binary;
mod node_view;
mod pretend_node;
mod real_node;

use crate::runner::Test;

/// In the order in which they run.
pub const ALL: &[&[Test]] = &[binary::TESTS, node_view::TESTS, pretend_node::TESTS, real_node::TESTS];
