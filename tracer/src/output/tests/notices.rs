//! Trace and verdict messages in each format, by hubble's rules for its printer and by its proto files.

use prost::Message as _;

use super::*;
use crate::model::notice::{
    AuthType, MatchType, Notice, PolicyAction, PolicyVerdict, Trace, TracePoint, TraceReason,
};
use crate::output::flow_proto::Encoder;
use crate::serve::proto::flow as wire;

pub(super) fn trace() -> Trace {
    Trace {
        point: TracePoint(0),
        reason: TraceReason(0),
        encrypted: false,
        proxy_port: 0,
        source_xlated: None,
        emitter: EndpointId(987),
        ip_trace_id: 0,
    }
}

/// The example drop, told of by a trace message instead.
pub(super) fn traced(trace: Trace) -> Flow {
    let notice = Some(Notice::Trace(trace));
    Flow { notice, cilium: None, verdict: Verdict::Forwarded, ..denied() }
}

/// The same by a verdict message.
pub(super) fn judged(action: PolicyAction, verdict: Verdict) -> Flow {
    let judged = PolicyVerdict {
        action,
        match_type: MatchType(2),
        auth_type: AuthType(0),
        emitter: EndpointId(987),
        cookie: 77,
    };
    let direction = Direction::Ingress;
    Flow { notice: Some(Notice::Verdict(judged)), cilium: None, verdict, direction, ..denied() }
}

fn compact(flow: Flow) -> String {
    lines(&text_options(Format::Compact), &[flow])
}

#[test]
fn compact_lines_are_hubbles() {
    let start = "Jan  6 18:26:04.783: ";
    let forward = "default/app:53875 (ID:1234) -> 10.0.1.7:80 (world) ";
    let of =
        |reason, point| traced(Trace { reason: TraceReason(reason), point: TracePoint(point), ..trace() });
    for (flow, expected) in [
        (of(0, 0), format!("{forward}to-endpoint FORWARDED (TCP Flags: SYN)")),
        (of(1, 11), format!("{forward}to-network FORWARDED (TCP Flags: SYN)")),
        // Left is who opened the connection.
        (
            of(2, 3),
            "10.0.1.7:80 (world) <- default/app:53875 (ID:1234) to-stack FORWARDED (TCP Flags: SYN)".to_owned(),
        ),
        (
            of(5, 14),
            "default/app:53875 (ID:1234) <> 10.0.1.7:80 (world) 14 FORWARDED (TCP Flags: SYN)".to_owned(),
        ),
        (
            judged(PolicyAction::Allowed, Verdict::Forwarded),
            format!("{forward}policy-verdict:L3-L4 INGRESS ALLOWED (TCP Flags: SYN)"),
        ),
        (
            judged(PolicyAction::Redirected(14001), Verdict::Redirected),
            format!("{forward}policy-verdict:L3-L4 INGRESS ALLOWED (TCP Flags: SYN)"),
        ),
        (
            judged(PolicyAction::Audited, Verdict::Audit),
            format!("{forward}policy-verdict:L3-L4 INGRESS AUDITED (TCP Flags: SYN)"),
        ),
        (
            judged(PolicyAction::Denied(DropReason(133)), Verdict::Dropped),
            "default/app:53875 (ID:1234) <> 10.0.1.7:80 (world) policy-verdict:L3-L4 INGRESS DENIED (TCP Flags: SYN)"
                .to_owned(),
        ),
    ] {
        assert_eq!(compact(flow), format!("{start}{expected}\n"));
    }
}

#[test]
fn authentication_and_trace_id_are_in_the_summary() {
    let mut flow = judged(PolicyAction::Allowed, Verdict::Forwarded);
    if let Some(Notice::Verdict(verdict)) = &mut flow.notice {
        verdict.auth_type = AuthType(1);
    }
    assert!(compact(flow).ends_with(" ALLOWED (TCP Flags: SYN; SPIRE)\n"));
    let flow = traced(Trace { ip_trace_id: 4711, ..trace() });
    assert!(compact(flow).ends_with(" FORWARDED (IP Trace ID: 4711; TCP Flags: SYN)\n"));
}

/// Table and dict have the sender in the first place, also of replies.
#[test]
fn dict_and_table_have_the_same_words() {
    let flow = traced(Trace { reason: TraceReason(2), ..trace() });
    let dict = lines(&text_options(Format::Dict), std::slice::from_ref(&flow));
    let expected = "  TIMESTAMP: Jan  6 18:26:04.783\n     SOURCE: default/app:53875\nDESTINATION: 10.0.1.7:80\n\
                    \x20      TYPE: to-endpoint\n    VERDICT: FORWARDED\n    SUMMARY: TCP Flags: SYN\n";
    assert_eq!(dict, expected);
    let table = lines(&text_options(Format::Table), &[judged(PolicyAction::Allowed, Verdict::Forwarded)]);
    let row = table.lines().nth(1).unwrap();
    assert!(row.contains(" policy-verdict:L3-L4 INGRESS   ALLOWED   TCP Flags: SYN"), "{table}");
}

#[test]
fn the_json_of_a_trace() {
    let translated = Trace {
        reason: TraceReason(2),
        encrypted: true,
        source_xlated: Some("192.0.2.10".parse().unwrap()),
        ip_trace_id: 4711,
        ..trace()
    };
    let line = json_line(Format::Json, &traced(translated));
    let flow = &line["flow"];
    assert_eq!(flow["event_type"], json!({"type": 4}), "sub-type 0 is left out");
    assert_eq!(
        (&flow["verdict"], &flow["trace_observation_point"]),
        (&json!("FORWARDED"), &json!("TO_ENDPOINT"))
    );
    assert_eq!(
        (&flow["trace_reason"], &flow["is_reply"], &flow["reply"]),
        (&json!("REPLY"), &json!(true), &json!(true))
    );
    let addresses = json!({
        "source": "10.0.1.5", "destination": "10.0.1.7", "ipVersion": "IPv4", "encrypted": true,
        "source_xlated": "192.0.2.10"
    });
    assert_eq!(flow["IP"], addresses);
    assert_eq!(flow["ip_trace_id"], json!({"trace_id": "4711"}));
    assert!(flow.get("drop_reason").is_none() && flow.get("drop_reason_desc").is_none());
    let told = json!({"point": 0, "point_name": "to-endpoint", "reason": 2, "reason_name": "reply", "endpoint": 987});
    assert_eq!(line["tracer"]["trace"], told);
    assert_eq!(
        (&line["tracer"]["source"], &line["tracer"]["taps"]),
        (&json!("message"), &json!(["message"]))
    );
}

#[test]
fn what_is_not_told_is_absent_and_unknown_numbers_stay_numbers() {
    let line = json_line(Format::Jsonpb, &traced(Trace { reason: TraceReason(5), ..trace() }));
    for key in ["is_reply", "reply", "trace_reason", "proxy_port"] {
        assert!(line["flow"].get(key).is_none(), "{key}: {line}");
    }
    let coming = Trace { point: TracePoint(14), reason: TraceReason(9), ..trace() };
    let flow = &json_line(Format::Jsonpb, &traced(coming))["flow"];
    assert_eq!((&flow["trace_observation_point"], &flow["trace_reason"]), (&json!(14), &json!(9)));
    let forwarded = &json_line(Format::Jsonpb, &traced(trace()))["flow"];
    assert_eq!((&forwarded["is_reply"], forwarded.get("reply")), (&json!(false), None), "false is told");
}

#[test]
fn the_json_of_a_verdict() {
    let line = json_line(Format::Json, &judged(PolicyAction::Denied(DropReason(133)), Verdict::Dropped));
    let flow = &line["flow"];
    assert_eq!((&flow["event_type"], &flow["policy_match_type"]), (&json!({"type": 5}), &json!(2)));
    assert_eq!((&flow["drop_reason"], &flow["drop_reason_desc"]), (&json!(133), &json!("POLICY_DENIED")));
    assert_eq!((flow.get("is_reply"), &flow["traffic_direction"]), (None, &json!("INGRESS")));
    let told = json!({"action": "denied", "match_type": "L3-L4", "endpoint": 987, "cookie": 77});
    assert_eq!(line["tracer"]["policy_verdict"], told);
    let line = json_line(Format::Json, &judged(PolicyAction::Redirected(14001), Verdict::Redirected));
    assert_eq!(line["flow"]["verdict"], "REDIRECTED");
    assert_eq!(line["tracer"]["policy_verdict"]["proxy_port"], 14001);
}

/// Pieces of lines are kept: none may stand in the line of another event.
#[test]
fn kept_pieces_are_those_of_the_same_message() {
    let mut flows = vec![denied(), traced(trace())];
    flows.push(traced(Trace { reason: TraceReason(2), ..trace() }));
    flows.push(judged(PolicyAction::Allowed, Verdict::Forwarded));
    flows.push(judged(PolicyAction::Denied(DropReason(133)), Verdict::Dropped));
    let twice: Vec<Flow> = flows.iter().chain(&flows).cloned().collect();
    let text = lines(&text_options(Format::Json), &twice);
    let strip = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["flow"].as_object_mut().unwrap().remove("uuid");
        line
    };
    let found: Vec<Value> = text.lines().map(strip).collect();
    for (at, flow) in twice.iter().enumerate() {
        let alone = lines(&text_options(Format::Json), std::slice::from_ref(flow));
        assert_eq!(found[at], strip(alone.trim_end()), "{at}");
    }
}

fn encoded(flow: &Flow) -> wire::Flow {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Response {
        #[prost(message, tag = "1")]
        flow: Option<wire::Flow>,
    }
    let mut out = Vec::new();
    Encoder::new(&node()).flow(&mut out, flow);
    Response::decode(&*out).unwrap().flow.unwrap()
}

#[test]
fn hubbles_protocol_has_the_same() {
    let translated = Trace {
        point: TracePoint(1),
        reason: TraceReason(2),
        encrypted: true,
        proxy_port: 14001,
        source_xlated: Some("192.0.2.10".parse().unwrap()),
        ..trace()
    };
    let flow = encoded(&traced(translated));
    assert_eq!((flow.verdict, flow.event_type.map(|kind| (kind.r#type, kind.sub_type))), (1, Some((4, 1))));
    assert_eq!((flow.trace_observation_point, flow.is_reply, flow.proxy_port), (1, Some(true), 14001));
    let ip = flow.ip.unwrap();
    assert_eq!(
        (ip.source.as_str(), ip.encrypted, ip.source_xlated.as_str()),
        ("10.0.1.5", true, "192.0.2.10")
    );
    let flow = encoded(&traced(trace()));
    assert_eq!((flow.trace_observation_point, flow.is_reply), (101, Some(false)));
    assert_eq!(encoded(&traced(Trace { reason: TraceReason(5), ..trace() })).is_reply, None);
    let flow = encoded(&judged(PolicyAction::Denied(DropReason(133)), Verdict::Dropped));
    assert_eq!((flow.verdict, flow.policy_match_type, flow.drop_reason_desc), (2, 2, 133));
    assert_eq!(
        (flow.event_type.map(|kind| (kind.r#type, kind.sub_type)), flow.is_reply),
        (Some((5, 0)), None)
    );
}
