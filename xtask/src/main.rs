//! `cargo xtask <verb>`: set-up, build, demo, tests and the VM runner. One file per verb; this one only knows
//! their names. stdout belongs to the programs that a verb runs; whatever xtask says goes to stderr.

mod process;
mod say;
mod setup;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set-up, build, demo, tests and VM runner of tracer.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Setup(setup::Args),
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Vm(args) => vm::run(args),
    };
    result.unwrap_or_else(|error| {
        say::problem(&error);
        ExitCode::FAILURE
    })
}
