//! What only the C library can do.

/// Gives free memory back to the system.
///
/// The C library's allocator keeps it by itself: each thread that allocates has its own heap, which shrinks only
/// from its end, so that what a compaction took would stay for good. Other allocators give it back in time.
pub(crate) fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "there is no safe binding for it")]
    // SAFETY: it may be called at any time by any thread, and touches only memory that nobody holds.
    unsafe {
        libc::malloc_trim(0);
    }
}
