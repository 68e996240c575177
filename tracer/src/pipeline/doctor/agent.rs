//! Facts of the agent: its heartbeat and its socket.

use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::node::Node;
use crate::cilium::heartbeat;
use crate::doctor::Finding;
use crate::doctor::agent::{self, Heartbeat, Knock};
use crate::kernel::clock::monotonic_now;

/// Beside the state directory.
const SOCKET: &str = "cilium.sock";

pub(super) fn look(node: &Node) -> Vec<Finding> {
    let path = node.view.source().state_dir.as_deref().and_then(Path::parent).map(|dir| dir.join(SOCKET));
    let knock = path.as_deref().map_or(Knock::Absent, knock);
    let shown = path.map(|path| path.display().to_string());
    vec![agent::heartbeat(&beat(node)), agent::socket(shown.as_deref(), &knock)]
}

fn beat(node: &Node) -> Heartbeat {
    let unknown = |why: String| Heartbeat::Unknown(format!("map `{}`: {why}", heartbeat::MAP));
    let Some(pin) = node.pin(heartbeat::MAP) else { return unknown("no such pin".to_owned()) };
    let map = match &pin.opened {
        Ok(map) => &**map,
        Err(error) => return unknown(error.to_string()),
    };
    if !heartbeat::is_known(map) {
        return unknown("not the layout that is known".to_owned());
    }
    match heartbeat::last(map) {
        Ok(Some(beat)) => Heartbeat::Seconds(monotonic_now().saturating_sub(beat) / 1_000_000_000),
        Ok(None) => Heartbeat::Never,
        Err(error) => unknown(error.to_string()),
    }
}

/// Connects and hangs up. An agent that hangs must not make us wait.
fn knock(path: &Path) -> Knock {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let connected = SocketAddrUnix::new(path).and_then(|address| {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &address)
    });
    match connected {
        Ok(()) => Knock::Open,
        Err(Errno::CONNREFUSED) => Knock::Refused,
        Err(Errno::AGAIN) => Knock::Full,
        Err(Errno::NOENT) => Knock::Absent,
        Err(error) => Knock::Failed(error.to_string()),
    }
}
