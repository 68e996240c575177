//! What a recording consists of.

use super::bytes::{Put, Take};
use super::flow;
use crate::cilium::release::{Release, ReleaseRange};
use crate::model::flow::Flow;
use crate::model::time::WallTime;
use crate::output::Node;
use crate::output::lost::{Lost, LostSource};

/// One thing that was recorded.
#[derive(Clone, Debug)]
pub enum Item {
    /// The node that everything after it was seen on: at the start of each segment and when it has changed.
    Node(Node),
    /// `concerns`: as in [`Named`](crate::correlate::name::Named).
    Flow {
        flow: Box<Flow>,
        concerns: bool,
    },
    Lost(Lost),
    /// The recorder ended as it should.
    End,
}

const NODE: u8 = 1;
const FLOW: u8 = 2;
const LOST: u8 = 3;
const END: u8 = 4;

/// Appends a frame.
fn frame(out: &mut Vec<u8>, kind: u8, contents: impl FnOnce(&mut Put<'_>)) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    contents(&mut Put(out));
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

pub fn put_node(out: &mut Vec<u8>, node: &Node) {
    frame(out, NODE, |out| {
        out.text(&node.name);
        out.u8(node.releases.lowest.0);
        out.u8(node.releases.highest.0);
    });
}

pub fn put_flow(out: &mut Vec<u8>, flow: &Flow, concerns: bool) {
    frame(out, FLOW, |out| {
        out.bool(concerns);
        flow::put(out, flow);
    });
}

pub fn put_lost(out: &mut Vec<u8>, lost: &Lost) {
    frame(out, LOST, |out| {
        out.bool(lost.source == LostSource::Queue);
        out.u64(lost.count);
        out.option(lost.cpu, Put::u32);
        out.u64(lost.time.0 as u64);
    });
}

pub fn put_end(out: &mut Vec<u8>) {
    frame(out, END, |_| {});
}

/// Takes a frame off the front. `None`: it is broken.
pub fn take(frames: &mut &[u8]) -> Option<Item> {
    let mut from = Take(frames);
    let kind = from.u8()?;
    let mut contents = Take(from.bytes()?);
    *frames = from.0;
    let item = match kind {
        NODE => {
            let name = contents.text()?.to_owned();
            let (lowest, highest) = (Release(contents.u8()?), Release(contents.u8()?));
            Item::Node(Node { name, releases: ReleaseRange { lowest, highest } })
        }
        FLOW => {
            let concerns = contents.bool()?;
            Item::Flow { flow: Box::new(flow::take(&mut contents)?), concerns }
        }
        LOST => Item::Lost(Lost {
            source: if contents.bool()? { LostSource::Queue } else { LostSource::KernelRing },
            count: contents.u64()?,
            cpu: contents.option(Take::u32)?,
            time: WallTime(contents.u64()? as i64),
        }),
        END => Item::End,
        _ => return None,
    };
    contents.0.is_empty().then_some(item)
}
