//! The program: reads the command line, runs the command, turns errors into one line and an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use tracer::cli::{self, Plan};
use tracer::pipeline;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(refusal) => return refuse(&refusal),
    };
    log_to_stderr(invocation.global.debug, invocation.global.quiet);
    let result = match invocation.plan {
        Plan::Drops(plan) => pipeline::drops::run(&invocation.global, *plan),
        Plan::Ct(plan) => pipeline::maps::ct::run(&invocation.global, *plan),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {}", error.one_line());
            error.exit().into()
        }
    }
}

fn refuse(refusal: &cli::Refusal) -> ExitCode {
    // A reader that is gone needs no help text.
    let _ = if refusal.is_error() {
        write!(std::io::stderr(), "{refusal}")
    } else {
        write!(std::io::stdout(), "{refusal}")
    };
    refusal.exit().into()
}

/// Warnings unless `-q`, everything with `-D`; `RUST_LOG` overrides both.
fn log_to_stderr(debug: bool, quiet: bool) {
    let default = match (debug, quiet) {
        (true, _) => "tracer=debug,tracer_ebpf=debug,warn",
        (false, true) => "error",
        (false, false) => "warn",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(debug)
        .without_time()
        .init();
}
