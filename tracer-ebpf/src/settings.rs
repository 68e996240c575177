//! Read-only globals that the loader fills in. The kernel freezes them before it verifies the programs, so
//! each field is a constant to the verifier and the branches it rules out are removed.

use tracer_common::config::{Filter, Offsets, Settings};

#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::ABSENT;
#[unsafe(no_mangle)]
pub static SETTINGS: Settings = Settings::DEFAULT;
#[unsafe(no_mangle)]
pub static FILTER: Filter = Filter::ALL;

/// Reads one field; the compiler must not take the value in this file for the one at run time.
macro_rules! global {
    ($name:ident . $($field:tt)+) => {
        // SAFETY: a shared static is always readable.
        unsafe { core::ptr::read_volatile(&raw const $crate::settings::$name.$($field)+) }
    };
}
pub(crate) use global;

/// Offset of a kernel structure's member on the running kernel.
macro_rules! offset {
    ($($field:tt)+) => {
        $crate::settings::global!(OFFSETS.$($field)+)
    };
}
pub(crate) use offset;
