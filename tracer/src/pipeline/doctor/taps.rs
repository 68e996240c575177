//! Attaches every tap as `tracer drops` does, and detaches at once.

use tracer_common::config::Filter;
use tracer_common::id::MapId;

use crate::doctor::Finding;
use crate::doctor::taps::{Attempt, attached};
use crate::kernel::btf::Btf;
use crate::kernel::drop_reason::DropReasons;
use crate::pipeline::RunError;
use crate::probe::taps::{MessageTap, Tap, TapState};
use crate::probe::{Loader, Plan, Probe};

/// Nothing is read from the ring.
const RING_BYTES: u32 = 1 << 16;

/// A map that there is not: without Cilium too the kernel tells whether it would let us attach.
const NO_MAP: MapId = MapId(u32::MAX);

/// `events`: the map that messages go through.
pub(super) fn try_out(events: Option<MapId>) -> Vec<Finding> {
    let outcome = attach(events).map_err(|error| error.one_line());
    attached(&outcome)
}

fn attach(events: Option<MapId>) -> Result<[Attempt; 3], RunError> {
    let btf = Btf::vmlinux()?;
    let reasons = DropReasons::read(&btf)?;
    let plan = Plan {
        filter: Filter::ALL,
        snaplen: 0,
        message_types: 0,
        notes_only: true,
        rate_limit: 0,
        ring_bytes: RING_BYTES,
        message_tap: MessageTap::Auto,
        events_maps: vec![events.unwrap_or(NO_MAP)],
        home_netns: 0,
        debug: false,
    };
    let probe = Probe::start(Loader::prepare(), &plan, &btf, &reasons)?;
    Ok(Tap::ALL.map(|tap| match probe.taps.state(tap) {
        TapState::On(hook) => Attempt::On(hook.to_string()),
        TapState::Off(why) => Attempt::Off(why.clone()),
    }))
}
