//! Which taps work.

use super::{Check, Finding, Group};

const FREE: Check = Check::new("tap.free", Group::Tap, "Freed packets and Cilium's notes in them are seen");
const MESSAGE: Check = Check::new("tap.message", Group::Tap, "Cilium's messages are seen");
const XDP_MESSAGE: Check =
    Check::new("tap.xdp-message", Group::Tap, "Messages of Cilium's XDP programs are seen");

/// What an attempt to attach gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// By which hook.
    On(String),
    /// And why.
    Off(String),
}

/// Everything that attaching told; the error is why no program runs at all.
pub fn attached(outcome: &Result<[Attempt; 3], String>) -> Vec<Finding> {
    let [free, message, xdp] = match outcome {
        Ok(attempts) => attempts,
        Err(why) => {
            let fix =
                "see the checks of the kernel; until then `tracer drops` does not run, and maps can be read";
            return vec![FREE.fail(why.as_str(), fix)];
        }
    };
    let free = match free {
        Attempt::On(hook) => FREE.ok(format!("attached by {hook}, and detached")),
        Attempt::Off(why) => FREE.fail(why.as_str(), "see the checks of the kernel"),
    };
    let without = "nothing is lost but drops on netkit devices: reasons come from the note in the packet";
    let without_xdp = "drops by XDP on real network cards are not seen: read `tracer metrics`";
    vec![free, optional(MESSAGE, message, without), optional(XDP_MESSAGE, xdp, without_xdp)]
}

fn optional(check: Check, attempt: &Attempt, without: &str) -> Finding {
    match attempt {
        Attempt::On(hook) => check.ok(format!("attached by {hook}, and detached")),
        Attempt::Off(why) => check.warn(why.as_str(), without),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn only_the_free_tap_is_a_must() {
        let on = || Attempt::On("tp_btf".to_owned());
        let off = || Attempt::Off("not permitted".to_owned());
        let statuses = |outcome| attached(&outcome).iter().map(|f| f.status).collect::<Vec<_>>();
        assert_eq!(statuses(Ok([on(), on(), on()])), [Status::Ok; 3]);
        assert_eq!(statuses(Ok([on(), off(), off()])), [Status::Ok, Status::Warn, Status::Warn]);
        assert_eq!(statuses(Err("no".to_owned())), [Status::Fail]);
    }
}
