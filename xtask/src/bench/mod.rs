//! `cargo xtask bench`: tracer beside its peers, on the same load in the same run. Each topic is a file, makes its
//! own load, and gives one section of `docs/performance.md`; ratios are of pairs measured one after the other.

mod floods;
mod kernel;
mod machine;
mod maps;
mod measure;
mod node;
mod peers;
mod pieces;
mod report;
mod serve;
mod soak;
mod start;
mod stats;
mod summary;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use self::peers::Peers;
use self::report::Section;
use crate::workspace::{Profile, root};
use crate::{build, process, say};

/// Measure tracer beside its peers and write docs/performance.md. Needs root.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure.
    #[arg(value_enum, default_value_t = Topic::All)]
    topic: Topic,
    /// How often each pair is measured.
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Packets of one flood.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    packets: u64,
    /// Minutes of the soak (`all` soaks for one).
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// Take the dev profile: to try the bench itself, its figures mean nothing and are not written down.
    #[arg(long)]
    debug: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Topic {
    /// Reading a connection tracking map: count and list.
    Maps,
    /// The pieces between ring and output, in process.
    Pieces,
    /// The same pieces under the name of their goal: JSON lines a second.
    Json,
    /// What the eBPF programs cost per packet.
    Kernel,
    /// Floods of drops, with other tracers on the same flood.
    Stream,
    /// Start, rest, latency.
    Start,
    /// A hundred readers of the Hubble service.
    Serve,
    /// A long flood: memory, descriptors and accounts.
    Soak,
    All,
}

/// What every topic needs.
pub struct Bench {
    tracer: PathBuf,
    node: PathBuf,
    peers: Peers,
    /// For everything that is made on the way.
    scratch: PathBuf,
    rounds: usize,
    packets: u64,
    minutes: u64,
}

type Measure = fn(&Bench) -> Result<Section>;

impl Topic {
    const MEASURED: [(Self, &'static str, Measure); 7] = [
        (Self::Maps, "1-maps", maps::run),
        (Self::Pieces, "2-pieces", pieces::run),
        (Self::Kernel, "3-kernel", kernel::run),
        (Self::Stream, "4-stream", floods::run),
        (Self::Start, "5-start", start::run),
        (Self::Serve, "6-serve", serve::run),
        (Self::Soak, "7-soak", soak::run),
    ];

    fn covers(self, other: Self) -> bool {
        self == other || self == Self::All || (self == Self::Json && other == Self::Pieces)
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    ensure!(process::is_root()?, "measuring needs root: maps, programs and network namespaces are made");
    let profile = Profile::from_debug_flag(args.debug);
    let output = build::programs(profile)?;
    let scratch = output.target.join("bench");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let bench = Bench {
        tracer: output.program(profile, "tracer"),
        node: output.program(profile, "pretend-node"),
        peers: Peers::build(&scratch)?,
        rounds: args.rounds.max(1),
        packets: args.packets,
        minutes: args.minutes.unwrap_or(if args.topic == Topic::All { 1 } else { 10 }),
        scratch,
    };
    for (topic, name, measure) in Topic::MEASURED.into_iter().filter(|(topic, ..)| args.topic.covers(*topic))
    {
        debug_assert!(topic != Topic::All);
        say::step(format!("bench: {}", &name[2..]));
        let section = measure(&bench).with_context(|| format!("bench {}", &name[2..]))?;
        eprint!("{section}");
        if profile == Profile::Release {
            report::keep(&bench.scratch, name, &section)?;
        }
    }
    if profile == Profile::Release {
        let file = root().join("docs/performance.md");
        report::assemble(&bench.scratch, &file)?;
        say::step(format!("bench: written to {}", file.display()));
    }
    Ok(ExitCode::SUCCESS)
}
