//! What xtask tells its user: one line per step, on stderr.

/// One line about what is being done.
pub fn step(text: impl AsRef<str>) {
    eprintln!("xtask: {}", text.as_ref());
}

/// An error with its causes, in one line; what follows the first line (a log's tail) comes below it.
pub fn problem(error: &anyhow::Error) {
    eprintln!("xtask: error: {error:#}");
}
