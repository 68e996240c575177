//! The program: reads the command line, runs the command, turns errors into one line and an exit code.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use tracer::cli::{self, Plan};
use tracer::output::color::{self, ColorChoice, ColorEnv};
use tracer::pipeline;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(refusal) => return refuse(&refusal),
    };
    let global = &invocation.global;
    log_to_stderr(global.debug, global.quiet, global.color);
    let result = match invocation.plan {
        Plan::Drops(plan) => pipeline::drops::run(global, *plan),
        Plan::Ct(plan) => pipeline::maps::ct::run(global, *plan),
        Plan::Policy(plan) => pipeline::maps::policy::run(global, &plan),
        Plan::Ipcache(plan) => pipeline::maps::ipcache::run(global, &plan),
        Plan::Endpoints(plan) => pipeline::maps::endpoints::run(global, &plan),
        Plan::Identity(plan) => pipeline::maps::identity::run(global, &plan),
        Plan::Nodes(plan) => pipeline::maps::nodes::run(global, &plan),
        Plan::Metrics(plan) => pipeline::maps::metrics::run(global, &plan),
        Plan::Maps(plan) => pipeline::maps::pinned::run(global, &plan),
        Plan::Nat(plan) => pipeline::maps::nat::run(global, *plan),
        Plan::Lb(plan) => pipeline::maps::lb::run(global, *plan),
        Plan::Diff(plan) => pipeline::diff::run(global, &plan),
        Plan::Replay(plan) => pipeline::replay::run(global, *plan),
        Plan::Snapshot(plan) => pipeline::snapshot::run(global, &plan),
        Plan::Why(plan) => pipeline::why::run(global, &plan),
        Plan::Top(plan) => pipeline::top::run(global, *plan),
        Plan::Serve(plan) => pipeline::serve::run(global, *plan),
        Plan::Capacity(plan) => pipeline::maps::capacity::run(global, &plan),
        Plan::Document(document) => pipeline::documents::run(&document),
        Plan::Explain(plan) => pipeline::explain::run(global, &plan),
        Plan::Doctor(plan) => pipeline::doctor::run(global, &plan),
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
fn log_to_stderr(debug: bool, quiet: bool, choice: ColorChoice) {
    let default = match (debug, quiet) {
        (true, _) => "tracer=debug,tracer_ebpf=debug,warn",
        (false, true) => "error",
        (false, false) => "warn",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| pipeline::console::Console)
        .with_ansi(color::decide(choice, &ColorEnv::from_process(), std::io::stderr().is_terminal()))
        .with_target(debug)
        .without_time()
        .init();
}
