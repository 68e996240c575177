//! Where shown events go besides the output: recordings and packet files.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::cli::record::RecordPlan;
use crate::model::flow::Flow;
use crate::output::lost::Lost;
use crate::output::why::brief::Rendered;
use crate::output::{Node, is_closed_pipe};
use crate::pcapng::PcapWriter;
use crate::record::Recorder;

/// Takes every event that is shown.
pub trait Sink: Send {
    /// `concerns`: whether it concerns the node as [`Named`](crate::correlate::name::Named) means it.
    /// `why`: the policy behind it, if that is asked for.
    fn flow(&mut self, flow: &Flow, concerns: bool, why: Option<&Arc<Rendered>>) -> io::Result<()>;

    fn lost(&mut self, lost: &Lost) -> io::Result<()>;

    /// What follows was seen on a node that has changed.
    fn node(&mut self, node: &Node) -> io::Result<()>;

    /// Writes what is due.
    fn flush(&mut self, now: Instant) -> io::Result<()>;

    /// When it wants to be flushed, if nothing happens until then.
    fn due(&self) -> Option<Instant>;

    /// No event comes any more.
    fn finish(&mut self) -> io::Result<()>;

    /// Events that were to be kept and could not be.
    fn not_recorded(&self) -> u64 {
        0
    }
}

/// All of them; an error names the file.
#[derive(Default)]
pub struct Sinks(Vec<(PathBuf, Box<dyn Sink>)>);

impl Sinks {
    /// What the command line asks for. `snaplen`: bytes of a packet that are captured at most.
    pub fn open(
        record: Option<&RecordPlan>,
        write: Option<&Path>,
        node: &Node,
        snaplen: u32,
    ) -> io::Result<Self> {
        let mut sinks = Self::default();
        if let Some(plan) = record {
            let recorder = Recorder::create(&plan.directory, plan.limits, node.clone());
            let recorder = recorder.map_err(|error| named(&plan.directory, error))?;
            let sink: Box<dyn Sink> = match plan.is_patient {
                true => Box::new(Patient::new(recorder, &plan.directory)),
                false => Box::new(recorder),
            };
            sinks.0.push((plan.directory.clone(), sink));
        }
        if let Some(path) = write {
            let writer = pcap(path, node, snaplen).map_err(|error| named(path, error))?;
            sinks.0.push((path.to_owned(), Box::new(writer)));
        }
        Ok(sinks)
    }

    /// One more; `name` is for its errors.
    pub fn add(&mut self, name: PathBuf, sink: Box<dyn Sink>) {
        self.0.push((name, sink));
    }

    pub fn each(&mut self, mut act: impl FnMut(&mut dyn Sink) -> io::Result<()>) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|(path, sink)| act(&mut **sink).map_err(|error| named(path, error)))
    }

    pub fn not_recorded(&self) -> u64 {
        self.0.iter().map(|(_, sink)| sink.not_recorded()).sum()
    }

    pub fn due(&self) -> Option<Instant> {
        self.0.iter().filter_map(|(_, sink)| sink.due()).min()
    }
}

/// Nobody reading our stdout any more stays recognisable as such.
fn named(path: &Path, error: io::Error) -> io::Error {
    if is_closed_pipe(&error) {
        return error;
    }
    io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

fn pcap(path: &Path, node: &Node, snaplen: u32) -> io::Result<PcapWriter<Box<dyn Write + Send>>> {
    let sink: Box<dyn Write + Send> = if path == Path::new("-") {
        Box::new(BufWriter::new(io::stdout()))
    } else {
        Box::new(BufWriter::new(File::create(path)?))
    };
    let uname = rustix::system::uname();
    let kernel = format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy());
    let mut writer = PcapWriter::new(sink, node, &kernel, snaplen)?;
    writer.flush()?;
    Ok(writer)
}

impl Sink for Recorder {
    fn flow(&mut self, flow: &Flow, concerns: bool, _why: Option<&Arc<Rendered>>) -> io::Result<()> {
        self.flow(flow, concerns)
    }

    fn lost(&mut self, lost: &Lost) -> io::Result<()> {
        self.lost(lost)
    }

    fn node(&mut self, node: &Node) -> io::Result<()> {
        self.node(node)
    }

    fn flush(&mut self, now: Instant) -> io::Result<()> {
        self.flush(now)
    }

    fn due(&self) -> Option<Instant> {
        self.due()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.finish()
    }
}

/// A recorder whose troubles are its own: what it could not write is counted, and it tries again.
struct Patient {
    recorder: Recorder,
    directory: PathBuf,
    has_complained: bool,
}

impl Patient {
    fn new(recorder: Recorder, directory: &Path) -> Self {
        Self { recorder, directory: directory.to_owned(), has_complained: false }
    }

    fn bear(&mut self, result: io::Result<()>) -> io::Result<()> {
        if let Err(error) = result
            && !std::mem::replace(&mut self.has_complained, true)
        {
            let directory = self.directory.display();
            tracing::warn!(
                "cannot record into `{directory}`: {error}; the rest goes on, recording too once it can, and what is \
                 missing there is counted (`not recorded`)"
            );
        }
        Ok(())
    }
}

impl Sink for Patient {
    fn flow(&mut self, flow: &Flow, concerns: bool, _why: Option<&Arc<Rendered>>) -> io::Result<()> {
        let result = self.recorder.flow(flow, concerns);
        self.bear(result)
    }

    fn lost(&mut self, lost: &Lost) -> io::Result<()> {
        let result = self.recorder.lost(lost);
        self.bear(result)
    }

    fn node(&mut self, node: &Node) -> io::Result<()> {
        let result = self.recorder.node(node);
        self.bear(result)
    }

    fn flush(&mut self, now: Instant) -> io::Result<()> {
        let result = self.recorder.flush(now);
        self.bear(result)
    }

    fn due(&self) -> Option<Instant> {
        self.recorder.due()
    }

    fn finish(&mut self) -> io::Result<()> {
        let result = self.recorder.finish();
        self.bear(result)
    }

    fn not_recorded(&self) -> u64 {
        self.recorder.not_recorded()
    }
}

impl<W: Write + Send> Sink for PcapWriter<W> {
    fn flow(&mut self, flow: &Flow, _concerns: bool, _why: Option<&Arc<Rendered>>) -> io::Result<()> {
        self.flow(flow)
    }

    /// A packet file has no place for packets that are not there; the stream and the summary tell.
    fn lost(&mut self, _lost: &Lost) -> io::Result<()> {
        Ok(())
    }

    fn node(&mut self, node: &Node) -> io::Result<()> {
        self.set_node(node);
        Ok(())
    }

    fn flush(&mut self, _now: Instant) -> io::Result<()> {
        self.flush()
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }
}
