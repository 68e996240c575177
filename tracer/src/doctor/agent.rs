//! Whether the agent is alive.

use super::{Check, Finding, Group};

const HEARTBEAT: Check = Check::new("agent.heartbeat", Group::Agent, "The agent gives signs of life");
const SOCKET: Check = Check::new("agent.socket", Group::Agent, "The agent's API takes connections");

/// The agent beats once a second.
const LATE_SECONDS: u64 = 10;

/// The age of the last sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    Seconds(u64),
    /// The map is there and the agent never wrote to it.
    Never,
    /// Why nothing is known.
    Unknown(String),
}

pub fn heartbeat(found: &Heartbeat) -> Finding {
    let dead = "`kubectl -n kube-system logs ds/cilium -c cilium-agent --previous` tells why; until it runs again the \
                datapath goes on with what the maps hold: no new pods, services or policy, and nobody removes \
                expired connections";
    match found {
        Heartbeat::Seconds(age) if *age < LATE_SECONDS => HEARTBEAT.ok(format!("{age} s ago")),
        Heartbeat::Seconds(age) => HEARTBEAT.fail(format!("no heartbeat for {}", span(*age)), dead),
        Heartbeat::Never => HEARTBEAT.fail("no heartbeat since the map was made", dead),
        Heartbeat::Unknown(why) => HEARTBEAT.unknown(why.as_str(), ""),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// What knocking at the agent's socket gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    Open,
    /// There is a file and nobody behind it.
    Refused,
    /// Somebody listens and takes no more.
    Full,
    /// No such file.
    Absent,
    Failed(String),
}

/// `path`: of the socket; `None`: no state directory, so no place to look.
pub fn socket(path: Option<&str>, knock: &Knock) -> Finding {
    let Some(path) = path else { return SOCKET.unknown("no state directory to look beside", "") };
    let restart = "restart the agent: `kubectl -n kube-system delete pod -l k8s-app=cilium --field-selector \
                   spec.nodeName=NODE`";
    match knock {
        Knock::Open => SOCKET.ok(path),
        Knock::Refused => {
            SOCKET.warn(format!("{path}: nobody listens, the agent ended without cleaning up"), restart)
        }
        Knock::Full => SOCKET.warn(format!("{path}: the agent takes no connections, it hangs"), restart),
        Knock::Absent => SOCKET.warn(
            format!("{path}: no such socket"),
            "nothing, if the agent's directory is not mounted here; else it does not run",
        ),
        Knock::Failed(why) => SOCKET.unknown(format!("{path}: {why}"), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_late_heartbeat_is_a_dead_agent() {
        for (age, status) in [(0, Status::Ok), (9, Status::Ok), (10, Status::Fail), (86_400, Status::Fail)] {
            assert_eq!(heartbeat(&Heartbeat::Seconds(age)).status, status, "{age}");
        }
        assert_eq!(heartbeat(&Heartbeat::Seconds(600)).evidence, "no heartbeat for 10 min");
        assert_eq!(heartbeat(&Heartbeat::Unknown("no map".to_owned())).status, Status::Unknown);
    }
}
