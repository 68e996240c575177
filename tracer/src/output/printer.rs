//! The event stream on its way out. One buffer, one write per [`FLUSH_AT`] bytes or per [`Printer::flush`];
//! when to flush is the caller's decision.

use std::io::{self, Write};

use jiff::tz::TimeZone;

use super::flow_json::Json;
use super::groups::{Form, Groups};
use super::lost::{self, Lost};
use super::options::{Format, OutputOptions};
use super::table::Table;
use super::text::Text;
use super::time::{Clock, local_zone};
use super::why::brief::Rendered;
use super::{dict, text};
use crate::cilium::release::ReleaseRange;
use crate::model::flow::Flow;
use crate::model::time::WallTime;

/// Bytes after which the buffer goes out without being asked.
const FLUSH_AT: usize = 64 * 1024;

/// What every event of a run has in common.
#[derive(Clone, Debug)]
pub struct Node {
    /// As Hubble prints it: `cluster/node`, in the cluster `default` (or none) the bare node name.
    pub name: String,
    /// The Cilium releases that the node may run: some names depend on it.
    pub releases: ReleaseRange,
}

impl Node {
    pub fn new(cluster: &str, node: &str, releases: ReleaseRange) -> Self {
        let name = match cluster {
            "" | "default" => node.to_owned(),
            _ => format!("{cluster}/{node}"),
        };
        Self { name, releases }
    }
}

/// Prints events in the chosen format. Nothing is allocated per event once the buffers have grown.
pub struct Printer<W> {
    sink: W,
    buffer: Vec<u8>,
    format: Format,
    node: Node,
    text: Text,
    table: Table,
    json: Json,
    groups: Option<Groups>,
    events: u64,
}

impl<W: Write> Printer<W> {
    pub fn new(sink: W, options: &OutputOptions, node: Node) -> Self {
        let zone = if options.utc { TimeZone::UTC } else { local_zone() };
        Self {
            sink,
            buffer: Vec::with_capacity(FLUSH_AT + 4096),
            format: options.format,
            text: Text::new(options, &node, Clock::new(options.time_format, zone)),
            table: Table::default(),
            node,
            json: Json::default(),
            groups: (!options.group_by.is_empty()).then(|| Groups::new(&options.group_by, options.flows)),
            events: 0,
        }
    }

    /// The node that events are printed for.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Takes the node's view anew: the agent may have been upgraded while we run.
    pub fn set_releases(&mut self, releases: ReleaseRange) {
        self.node.releases = releases;
        self.json.forget();
        self.text.set_releases(releases);
    }

    /// Prints an event, or counts it for [`Self::report_groups`].
    pub fn flow(&mut self, flow: &Flow) -> io::Result<()> {
        self.explained(flow, None)
    }

    /// An event with the policy behind it: a second line in text, a key in JSON.
    pub fn explained(&mut self, flow: &Flow, why: Option<&Rendered>) -> io::Result<()> {
        if let Some(groups) = &mut self.groups {
            groups.add(flow, &self.node);
            return Ok(());
        }
        let out = &mut self.buffer;
        match self.format {
            Format::Compact => {
                text::compact(out, &mut self.text, flow);
                if let Some(why) = why {
                    text::because(out, &why.line);
                }
            }
            Format::Dict => dict::flow(out, &mut self.text, flow, self.events == 0, why),
            Format::Table => self.table.flow(out, &mut self.text, flow),
            Format::Json | Format::Jsonpb => {
                let tracer = (self.format == Format::Json).then_some(why);
                self.json.write(out, flow, &self.node, tracer);
            }
        }
        self.written()
    }

    /// Prints the groups that have grown since the last report, or all of them when it is the `last` one.
    pub fn report_groups(&mut self, time: WallTime, last: bool) -> io::Result<()> {
        let Some(groups) = &mut self.groups else { return Ok(()) };
        let json = matches!(self.format, Format::Json | Format::Jsonpb);
        let clock = if json { &mut self.json.clock } else { &mut self.text.clock };
        groups.report(&mut Form { out: &mut self.buffer, clock, node: &self.node, json, last, time });
        self.write_out()
    }

    /// Events that were lost before they could be printed.
    pub fn lost(&mut self, lost: &Lost) -> io::Result<()> {
        let out = &mut self.buffer;
        match self.format {
            Format::Compact => lost::compact(out, lost),
            Format::Dict => dict::lost(out, &self.text, lost, self.events == 0),
            Format::Table => self.table.lost(out, &self.text, lost),
            Format::Json | Format::Jsonpb => lost::json(out, lost, &self.node.name, &mut self.json.clock),
        }
        self.written()
    }

    fn written(&mut self) -> io::Result<()> {
        self.events += 1;
        if self.buffer.len() >= FLUSH_AT {
            self.write_out()?;
        }
        Ok(())
    }

    /// Whether anything waits for [`Self::flush`].
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.sink.flush()
    }

    fn write_out(&mut self) -> io::Result<()> {
        let result = self.sink.write_all(&self.buffer);
        self.buffer.clear();
        result
    }

    /// The sink, after everything was written to it.
    pub fn into_inner(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.sink)
    }
}

/// Whether the reader of our output is gone, which is no error.
pub fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}
