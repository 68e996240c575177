//! Who listens in the network namespace of the calling thread.

use std::collections::BTreeSet;
use std::io;

/// Ports on which somebody takes what comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    pub tcp: BTreeSet<u16>,
    pub udp: BTreeSet<u16>,
}

/// `st` of a TCP socket that listens.
const LISTEN: &str = "0A";
/// `st` of a UDP socket that is not connected.
const UNCONNECTED: &str = "07";

pub fn listeners() -> io::Result<Listeners> {
    let mut found = Listeners::default();
    for (file, state, ports) in [("tcp", LISTEN, &mut found.tcp), ("udp", UNCONNECTED, &mut found.udp)] {
        ports.extend(parse(&read(file)?, state));
        // Kernels without IPv6 have no such file.
        match read(&format!("{file}6")) {
            Ok(text) => ports.extend(parse(&text, state)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// `/proc/net` is that of the process's first thread, which may be elsewhere.
fn read(file: &str) -> io::Result<String> {
    std::fs::read_to_string(format!("/proc/thread-self/net/{file}"))
}

/// `sl local_address rem_address st …`, addresses and ports in hexadecimal.
fn parse<'a>(text: &'a str, state: &'a str) -> impl Iterator<Item = u16> + 'a {
    text.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next()?;
        let is_wanted = words.nth(1)? == state;
        let port = local.rsplit_once(':')?.1;
        is_wanted.then(|| u16::from_str_radix(port, 16).ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a running kernel: one socket listens, one is connected.
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2711 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41503 1 0 100 0 0 10 0
   1: 0100007F:0050 0100007F:A2C4 01 00000000:00000000 00:00000000 00000000     0        0 41504 1 0 20 4 30 10 -1
   2: broken
";

    #[test]
    fn only_listening_ports_are_taken() {
        assert_eq!(parse(TCP, LISTEN).collect::<Vec<_>>(), [10001]);
    }
}
