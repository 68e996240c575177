//! Runs the end-to-end tests on the running kernel: `e2e [--list] [--exact] [FILTER…]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tracer_tests::runner::main(tracer_tests::e2e::ALL)
}
