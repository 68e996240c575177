//! Probes and a named port for a container whose tracer serves figures.

use std::net::SocketAddr;

const OPTION: &str = "--metrics";

/// Where `tracer serve` is told to serve figures and to answer probes. `None`: nowhere, or what is given is no address, of
/// which tracer itself complains.
pub fn address(args: &[String]) -> Option<SocketAddr> {
    if args.first()? != "serve" {
        return None;
    }
    args.iter().enumerate().filter_map(|(at, arg)| value(arg, args.get(at + 1))).next_back()?.parse().ok()
}

/// What `--metrics=VALUE`, or `--metrics` and the argument after it, say.
fn value<'a>(arg: &'a str, next: Option<&'a String>) -> Option<&'a str> {
    match arg.strip_prefix(OPTION)? {
        "" => next.map(String::as_str),
        rest => rest.strip_prefix('='),
    }
}

/// The part of a container for it.
pub fn render(address: SocketAddr) -> String {
    let probe = |path: &str| {
        let host = match address.ip() {
            ip if ip.is_unspecified() => String::new(),
            ip => format!("    host: \"{ip}\"\n"),
        };
        format!("  httpGet:\n    path: {path}\n    port: metrics\n{host}")
    };
    format!(
        "ports:\n- name: metrics\n  containerPort: {port}\n\
         # tracer runs.\nlivenessProbe:\n{alive}  failureThreshold: 6\n\
         # It reads events.\nreadinessProbe:\n{ready}",
        port = address.port(),
        alive = probe("/healthz"),
        ready = probe("/readyz"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Option<String> {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        address(&args).map(|address| address.to_string())
    }

    #[test]
    fn only_a_server_with_figures_has_an_address() {
        assert_eq!(found("serve --metrics 0.0.0.0:9977").as_deref(), Some("0.0.0.0:9977"));
        assert_eq!(found("serve --metrics=[::1]:1 --all").as_deref(), Some("[::1]:1"));
        for line in
            ["drops -o json", "serve", "serve --metrics", "serve --metrics x", "serve --metricsy=1.2.3.4:5"]
        {
            assert_eq!(found(line), None, "{line}");
        }
    }
}
