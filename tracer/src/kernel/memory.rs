//! Memory that is only needed while starting.

/// Returns freed heap pages to the system. Reading the kernel's type information takes tens of megabytes for a
/// moment, which the allocator would keep otherwise.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions and may run at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
