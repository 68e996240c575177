//! `cargo xtask <verb>`: set-up, build, demo, tests, measuring and the VM runner. One file per verb; this one only knows
//! their names. stdout belongs to the programs that a verb runs; whatever xtask says goes to stderr.

mod bench;
mod build;
mod build_ebpf;
mod ci;
mod demo;
mod process;
mod report;
mod say;
mod setup;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set-up, build, demo, tests and VM runner of tracer. Each verb installs what it lacks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Setup(setup::Args),
    Build(build::Args),
    BuildEbpf(build_ebpf::Args),
    Demo(demo::Args),
    Test(test::Args),
    Vm(vm::Args),
    Bench(bench::Args),
    Ci(ci::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Build(args) => build::run(&args),
        Verb::BuildEbpf(args) => build_ebpf::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Vm(args) => vm::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Ci(args) => ci::run(&args),
    };
    result.unwrap_or_else(|error| {
        say::problem(&error);
        ExitCode::FAILURE
    })
}
