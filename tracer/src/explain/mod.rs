//! The encyclopaedia of drop reasons, in our own words: what a reason means, what usually causes it, how to
//! confirm that with tracer, what to do. It needs no node, no agent and no rights.
//!
//! The texts are data, one theme a file: [`cilium`] by number, [`kernel`] by name (numbers of the kernel move
//! with every release), [`ext_error`] for what qualifies some of Cilium's reasons. [`Book`] puts them together
//! with the names of the running kernel, which the caller brings, and finds entries by what people type.

mod book;
mod cilium;
mod ext_error;
mod kernel;
mod text;
mod words;

pub use book::{Book, Entry, ExtErrorValue, Group, KernelReason};
pub use text::{Check, Text};
